#include "tests/support/workload.h"

#include <libpq-fe.h>

#include <memory>
#include <random>
#include <stdexcept>

#include "dev/postgres_server.h"
#include "dev/process.h"

namespace postrider::test {
namespace {

using std::to_string;

// Thrown when the server is away; the writer connects again.
struct Disconnected {};

class Connection {
 public:
  explicit Connection(const std::string& conninfo)
      : raw_(PQconnectdb(conninfo.c_str()), &PQfinish) {
    if (PQstatus(raw_.get()) != CONNECTION_OK) throw Disconnected{};
    run("SET client_min_messages = warning");
  }
  void run(const std::string& statement) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(
        PQexec(raw_.get(), statement.c_str()), &PQclear);
    const auto status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return;
    throw_if_gone(result.get());
    throw std::runtime_error("workload: " + statement + ": " + PQerrorMessage(raw_.get()));
  }
  void copy(const std::string& statement, const std::string& rows) {
    PQclear(PQexec(raw_.get(), statement.c_str()));
    if (PQputCopyData(raw_.get(), rows.data(), static_cast<int>(rows.size())) != 1 ||
        PQputCopyEnd(raw_.get(), nullptr) != 1)
      throw Disconnected{};
    std::string error;
    while (PGresult* result = PQgetResult(raw_.get())) {
      const std::unique_ptr<PGresult, decltype(&PQclear)> owned(result, &PQclear);
      if (PQresultStatus(result) == PGRES_COMMAND_OK) continue;
      throw_if_gone(result);
      error = PQresultErrorMessage(result);
    }
    if (PQstatus(raw_.get()) != CONNECTION_OK) throw Disconnected{};
    if (!error.empty()) throw std::runtime_error("workload: copy: " + error);
  }

 private:
  // An error without an SQLSTATE is libpq's own: the connection ended, also where PQstatus does not
  // say so yet (it could not send, and has not read to the end). 57P: the server shuts down or
  // starts. 58: its disk is gone.
  void throw_if_gone(const PGresult* failed) const {
    const char* state = PQresultErrorField(failed, PG_DIAG_SQLSTATE);
    if (PQstatus(raw_.get()) != CONNECTION_OK || state == nullptr ||
        std::string(state).starts_with("57P") || std::string(state).starts_with("58"))
      throw Disconnected{};
  }

  std::unique_ptr<PGconn, decltype(&PQfinish)> raw_;
};

class Writer {
 public:
  Writer(const Workload::Options& options, int number)
      : options_(options), number_(number), random_(static_cast<unsigned>(number)) {}

  // One transaction of a kind chosen at random.
  void transact() {
    if (!app_) app_ = std::make_unique<Connection>(options_.app);
    switch (random_() % 9) {
      case 0:
        app_->run("BEGIN; " + emit(3) + "; ROLLBACK");
        break;
      case 1:
        app_->run("BEGIN; " + emit(2) + "; SAVEPOINT s; " + emit(5) +
                  "; ROLLBACK TO SAVEPOINT s; " + emit(1) + "; COMMIT");
        break;
      case 2:
        app_->run("BEGIN; SAVEPOINT a; " + emit(1) + "; SAVEPOINT b; " + emit(1) +
                  "; RELEASE SAVEPOINT b; RELEASE SAVEPOINT a; COMMIT");
        break;
      case 3:
        prepared(true);
        break;
      case 4:
        prepared(false);
        break;
      case 5:
        copied();
        break;
      case 6:
        app_->run("BEGIN; " + emit(60) + "; COMMIT");
        break;
      default:
        app_->run("BEGIN; " + emit(1 + static_cast<int>(random_() % 3)) + "; " + emit(1) +
                  "; COMMIT");
        break;
    }
  }
  void disconnect() {
    app_.reset();
    owner_.reset();
  }

 private:
  // One statement that writes `count` events and says in `written` what they are.
  std::string emit(int count) {
    const bool wal = options_.wal_store && random_() % 2 == 0;
    const bool bytes = random_() % 4 == 0;
    const std::string subject = "'w" + to_string(number_) + ".n'||g||'.made'";
    const std::string text = "'{\"n\": '||g||', \"w\": \"" + to_string(++serial_) + " ü\"}'";
    const std::string call = bytes ? "outbox.emit_bytes(s, convert_to(p, 'UTF8')"
                                   : "outbox.emit(s, p::jsonb, headers => '{\"X-Kind\": \"test\"}'";
    return "INSERT INTO written SELECT " + call + ", key => 'k" + to_string(number_) +
           "', store => '" + (wal ? "wal" : "table") + "'), s, " +
           (bytes ? "p" : "p::jsonb::text") + " FROM (SELECT " + subject + " AS s, " + text +
           " AS p FROM generate_series(1, " + to_string(count) + ") g) e";
  }

  void prepared(bool commit) {
    const std::string name = "'w" + to_string(number_) + "_" + to_string(++serial_) + "'";
    app_->run("BEGIN; " + emit(2) + "; PREPARE TRANSACTION " + name);
    app_->run("BEGIN; " + emit(1) + "; COMMIT");  // something commits in between
    app_->run((commit ? "COMMIT PREPARED " : "ROLLBACK PREPARED ") + name);
  }

  // Many rows in one WAL record.
  void copied() {
    if (!owner_) owner_ = std::make_unique<Connection>(options_.owner);
    owner_->run("BEGIN");
    std::string rows;
    std::string said;
    for (int i = 0; i < 40; ++i) {
      const std::string id = uuid();
      const std::string subject = "copy.w" + to_string(number_);
      rows += id + "\t" + subject + "\tapplication/json\t{\"i\": " + to_string(i) + "}\n";
      said += id + "\t" + subject + "\t{\"i\": " + to_string(i) + "}\n";
    }
    owner_->copy("COPY outbox.events (id, subject, content_type, payload) FROM STDIN", rows);
    owner_->copy("COPY written FROM STDIN", said);
    owner_->run("COMMIT");
  }

  std::string uuid() {
    static const char* const digits = "0123456789abcdef";
    std::string text = "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx";
    for (auto& c : text)
      if (c == 'x') c = digits[entropy_() % 16];
    return text;
  }

  const Workload::Options& options_;
  int number_;
  std::mt19937 random_;
  std::random_device entropy_;
  long serial_ = 0;
  std::unique_ptr<Connection> app_;
  std::unique_ptr<Connection> owner_;
};

}  // namespace

void make_written_table(const std::string& superuser) {
  dev::execute(superuser,
               {"CREATE TABLE written (id uuid, subject text, payload text)",
                "GRANT ALL ON written TO app, owner", "GRANT TEMPORARY ON DATABASE shop TO owner"});
}

std::map<std::string, Written> read_written(const std::string& superuser) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(superuser.c_str()),
                                                                &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> rows(
      PQexec(connection.get(), "SELECT id, subject, payload FROM written"), &PQclear);
  if (PQresultStatus(rows.get()) != PGRES_TUPLES_OK)
    throw std::runtime_error(std::string("written: ") + PQerrorMessage(connection.get()));
  std::map<std::string, Written> written;
  for (int row = 0; row < PQntuples(rows.get()); ++row)
    written[PQgetvalue(rows.get(), row, 0)] = {PQgetvalue(rows.get(), row, 1),
                                               PQgetvalue(rows.get(), row, 2)};
  return written;
}

Workload::Workload(Options options) : options_(std::move(options)) {
  for (int i = 0; i < options_.writers; ++i) threads_.emplace_back([this, i] { run(i); });
}

Workload::~Workload() {
  stop();
}

void Workload::stop() {
  stop_ = true;
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
}

void Workload::wait_for_more(long transactions) const {
  constexpr std::chrono::seconds kPatience{60};
  const long target = transactions_ + transactions;
  if (!dev::wait_until([&] { return transactions_ >= target; }, kPatience))
    throw std::runtime_error("workload: the writers make no progress");
}

void Workload::run(int number) {
  Writer writer(options_, number);
  while (!stop_) {
    try {
      writer.transact();
      ++transactions_;
    } catch (const Disconnected&) {
      writer.disconnect();
      dev::pause_between_polls();
    }
    if (options_.pause.count() > 0)
      (void)dev::wait_until([this] { return stop_.load(); }, options_.pause);
  }
}

}  // namespace postrider::test
