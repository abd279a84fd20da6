#include "tests/faults/power/filler.h"

#include <libpq-fe.h>

#include <memory>
#include <random>
#include <set>
#include <stdexcept>

#include "dev/postgres_server.h"
#include "dev/process.h"

namespace postrider::test {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

// Many small transactions, and large ones that make most of the events.
std::uint64_t size_of_next(std::mt19937_64& random) {
  return random() % 3 == 0 ? 1 + random() % 20 : 500 + random() % 1500;
}

std::string transaction(std::uint64_t number, std::uint64_t events, bool synchronous) {
  const auto n = std::to_string(number);
  return std::string("BEGIN; SET LOCAL synchronous_commit = ") + (synchronous ? "on" : "off") +
         "; INSERT INTO filled VALUES (" + n +
         "); INSERT INTO written SELECT outbox.emit(s, p), s, p::text FROM (SELECT 'bulk.t" + n +
         "' AS s, jsonb_build_object('t', " + n +
         ", 'n', g, 'text', repeat('x', 80)) AS p FROM generate_series(1, " +
         std::to_string(events) + ") g) e; COMMIT";
}

}  // namespace

void Filler::make_table(const std::string& superuser) {
  dev::execute(superuser,
               {"CREATE TABLE filled (number bigint PRIMARY KEY)", "GRANT ALL ON filled TO app"});
}

Filler::Filler(std::string conninfo, std::uint64_t seed)
    : conninfo_(std::move(conninfo)), seed_(seed), thread_([this] { run(); }) {}

Filler::~Filler() {
  stop_ = true;
  thread_.join();
}

Filler::Vanished Filler::vanished(const std::string& superuser) {
  const Connection connection(PQconnectdb(superuser.c_str()), &PQfinish);
  Vanished vanished;
  const std::lock_guard lock(mutex_);
  const Result rows(PQexec(connection.get(), "SELECT number FROM filled"), &PQclear);
  if (PQresultStatus(rows.get()) != PGRES_TUPLES_OK)
    throw std::runtime_error(std::string("filled: ") + PQerrorMessage(connection.get()));
  std::set<std::uint64_t> present;
  for (int row = 0; row < PQntuples(rows.get()); ++row)
    present.insert(std::stoull(PQgetvalue(rows.get(), row, 0)));
  for (auto at = committed_.begin(); at != committed_.end();) {
    if (present.contains(at->first)) {
      ++at;
      continue;
    }
    ++vanished.transactions;
    vanished.events += at->second;
    at = committed_.erase(at);
  }
  return vanished;
}

void Filler::run() {
  std::mt19937_64 random(seed_);
  Connection connection(nullptr, &PQfinish);
  for (std::uint64_t number = 1; !stop_;) {
    if (idle()) {
      dev::pause_between_polls();
      continue;
    }
    if (PQstatus(connection.get()) != CONNECTION_OK) {
      connection.reset(PQconnectdb(conninfo_.c_str()));
      if (PQstatus(connection.get()) != CONNECTION_OK) dev::pause_between_polls();
      PQsetNoticeProcessor(
          connection.get(), [](void*, const char*) {}, nullptr);
      continue;
    }
    const auto events = size_of_next(random);
    const Result result(PQexec(connection.get(), transaction(number, events, synchronous_).c_str()),
                        &PQclear);
    // The number of one whose end is unknown is never used again.
    if (PQresultStatus(result.get()) == PGRES_COMMAND_OK) {
      const std::lock_guard lock(mutex_);
      committed_[number] = events;
      done_ += events;
    } else if (PQstatus(connection.get()) == CONNECTION_OK) {
      Result(PQexec(connection.get(), "ROLLBACK"), &PQclear);
    }
    ++number;
  }
}

}  // namespace postrider::test
