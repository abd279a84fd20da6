#include "tests/faults/campaign/workload.h"

#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>

#include "dev/process.h"
#include "tests/faults/campaign/random.h"
#include "tests/faults/campaign/sql.h"
#include "tests/faults/campaign/world.h"

namespace postrider::campaign {
namespace {

using std::to_string;

constexpr int kColumnsToAdd = 4;

// Keys by rank, the first being by far the most frequent: Zipf's law with exponent 1, by inversion
// of its continuous form.
class Zipf {
 public:
  explicit Zipf(int keys) : keys_(keys) {}
  int pick(Random& random) const {
    constexpr double kUnit = 1U << 30U;
    const double u = static_cast<double>(random.below(1U << 30U)) / kUnit;
    return static_cast<int>(std::pow(static_cast<double>(keys_), u)) - 1;
  }

 private:
  int keys_;
};

class Writer {
 public:
  Writer(const Workload::Options& options, std::size_t number, History& history)
      : options_(options),
        number_(number),
        random_(derive(options.seed, "writer " + to_string(number))),
        zipf_(options.keys),
        history_(history) {}

  // One transaction; messages that it is known to have committed.
  std::uint64_t transact() {
    if (!connect()) return 0;
    const auto kind = random_.below(1000);
    const auto transaction = history_.size();
    // A statement of thousands of events now and then; small ones are what services do.
    constexpr std::uint64_t kMostEvents = 50;
    const auto events = kind < 2 ? random_.between(2000, 10'000) : random_.between(1, kMostEvents);
    history_.push_back({Outcome::kUnknown, static_cast<std::uint16_t>(events)});
    std::uint64_t rows = 0;
    const std::string body =
        "BEGIN; " + move_cents(rows) + emit(transaction, static_cast<long>(events), false);
    try {
      if (kind < 22) {
        prepared(body, transaction);
      } else if (kind < 122) {
        sql_->run(body + "ROLLBACK");
        history_[transaction].outcome = Outcome::kAborted;
      } else {
        std::string aborted;
        if (kind < 222)
          aborted = "SAVEPOINT s; " + emit(transaction, 3, true) + move_cents(rows) +
                    "ROLLBACK TO SAVEPOINT s; ";
        if (kind > 997 && number_ == 0 && added_ < kColumnsToAdd)
          aborted += "ALTER TABLE account ADD COLUMN extra_" + to_string(++added_) + " int; ";
        sql_->run(body + aborted + "COMMIT");
        history_[transaction].outcome = Outcome::kCommitted;
      }
    } catch (const SqlError& error) {
      lost(error, transaction);
      return 0;
    }
    return history_[transaction].outcome == Outcome::kCommitted ? events + 2 : 0;
  }

  // Transactions of ours that stand prepared: as they were decided, if they were.
  void decide_prepared() {
    const auto mine = "w" + to_string(number_) + "_";
    for (const auto& row :
         sql_->rows("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE '" + mine + "%'"))
      sql_->run((row[0].ends_with("c") ? "COMMIT PREPARED '" : "ROLLBACK PREPARED '") + row[0] +
                "'");
  }
  [[nodiscard]] bool connect() {
    try {
      if (sql_) return true;
      sql_ = std::make_unique<Sql>(options_.app);
      decide_prepared();
      return true;
    } catch (const SqlError&) {
      sql_.reset();
      dev::pause_between_polls();
      return false;
    }
  }

 private:
  // Between two accounts, locked in one order by everybody. Their notes mostly stay as they are.
  std::string move_cents(std::uint64_t& rows) {
    const auto from = random_.between(1, kAccounts);
    const auto to = from % kAccounts + 1;
    const auto cents = random_.between(1, 1000);
    rows += 2;
    const std::string note =
        random_.percent(2)
            ? ", note = repeat(chr(" + to_string(random_.between(97, 122)) + "), 2500)"
            : "";
    return "WITH locked AS (SELECT id FROM account WHERE id IN (" + to_string(from) + ", " +
           to_string(to) +
           ") ORDER BY id FOR UPDATE) UPDATE account a SET cents = cents + CASE a.id "
           "WHEN " +
           to_string(from) + " THEN -" + to_string(cents) + " ELSE " + to_string(cents) + " END" +
           note + " FROM locked l WHERE a.id = l.id; ";
  }

  std::string emit(std::size_t transaction, long events, bool aborted) {
    std::string keys;
    for (auto count = random_.between(1, 5); count > 0; --count)
      keys += (keys.empty() ? "k" : ",k") + to_string(zipf_.pick(random_));
    const auto number = to_string(transaction);
    return "SELECT count(outbox.emit('w" + to_string(number_) + ".made', jsonb_build_object('w', " +
           to_string(number_) + ", 't', " + number + ", 'i', g, 'n', " + to_string(events) +
           ", 'c', CASE g WHEN " + to_string(events - 1) + " THEN " +
           to_string(cents_of(static_cast<long>(transaction), events - 1, events)) +
           " ELSE (g * 37 + " + number + ") % 100 END" + (aborted ? ", 'x', 1" : "") +
           "), k[1 + g % " + "cardinality(k)], 'made', store => '" +
           (random_.percent(50) ? "wal" : "table") + "')) FROM generate_series(0, " +
           to_string(events - 1) + ") g, (SELECT '{" + keys + "}'::text[] AS k) k; ";
  }

  void prepared(const std::string& body, std::size_t transaction) {
    const bool commit = !random_.percent(20);
    const auto gid =
        "'w" + to_string(number_) + "_" + to_string(transaction) + (commit ? "c'" : "r'");
    sql_->run(body + "PREPARE TRANSACTION " + gid);
    sql_->run((commit ? "COMMIT PREPARED " : "ROLLBACK PREPARED ") + gid);
    history_[transaction].outcome = commit ? Outcome::kCommitted : Outcome::kAborted;
  }

  void lost(const SqlError& error, std::size_t transaction) {
    if (error.connection_lost) {
      sql_.reset();
      return;
    }
    // The server answered with an error: that transaction is not committed. A prepared one whose
    // decision was refused is decided at the next connection, and stays unknown.
    if (error.sqlstate == "42883" || error.sqlstate == "42601" || error.sqlstate == "42501")
      throw std::runtime_error(std::string("workload: ") + error.what());
    if (error.sqlstate != "42704") history_[transaction].outcome = Outcome::kAborted;
    try {
      sql_->run("ROLLBACK");
    } catch (const SqlError&) {
      sql_.reset();
    }
  }

  const Workload::Options& options_;
  std::size_t number_;
  Random random_;
  Zipf zipf_;
  History& history_;
  int added_ = 0;
  std::unique_ptr<Sql> sql_;
};

}  // namespace

bool parse_payload(const std::string& text, Payload& payload) {
  // jsonb prints its keys by length, then by their bytes.
  int end = 0;
  if (std::sscanf(text.c_str(), R"({"c": %ld, "i": %ld, "n": %ld, "t": %ld, "w": %ld%n)",
                  &payload.cents, &payload.index, &payload.events, &payload.transaction,
                  &payload.writer, &end) != 5)
    return false;
  const auto rest = text.substr(static_cast<std::size_t>(end));
  payload.aborted = rest == R"(, "x": 1})";
  return payload.aborted || rest == "}";
}

Workload::Workload(Options options, const std::atomic<std::uint64_t>& published)
    : options_(std::move(options)), published_(published) {
  histories_.resize(static_cast<std::size_t>(options_.writers));
  for (std::size_t i = 0; i < histories_.size(); ++i) threads_.emplace_back([this, i] { run(i); });
}

Workload::~Workload() {
  stop_ = true;
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
}

void Workload::stop() {
  stop_ = true;
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
  for (std::size_t i = 0; i < histories_.size(); ++i) {
    History unused;
    Writer writer(options_, i, unused);
    if (!writer.connect()) throw std::runtime_error("workload: the source is away");
  }
}

void Workload::run(std::size_t number) {
  Writer writer(options_, number, histories_[number]);
  while (!stop_) {
    if (slow_) dev::pause_between_polls();
    if (held_up() || (slow_ && number > 0)) {
      dev::pause_between_polls();
      continue;
    }
    messages_ += writer.transact();
    ++transactions_;
  }
}

}  // namespace postrider::campaign
