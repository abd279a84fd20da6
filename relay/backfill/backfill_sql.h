// The source's backfills by ordinary SQL (migrations/service, outbox.backfill_*). One connection,
// not thread-safe. Calls throw Failure (kPostgresUnavailable) for what passes by itself, a broken
// connection most of all: then the object is only good for destruction.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "postrider/lsn.h"
#include "relay/postgres/source.h"

namespace postrider {

// A backfill that cannot go on before a person has done something: its table was dropped, a right
// is missing, its condition fails. Others can.
class BackfillImpossible : public std::runtime_error {
 public:
  explicit BackfillImpossible(const std::string& why, bool at_once = false)
      : std::runtime_error(why), at_once_(at_once) {}
  // Not worth another attempt.
  [[nodiscard]] bool at_once() const { return at_once_; }

 private:
  bool at_once_;
};

struct BackfillOrder {
  std::int64_t id = 0;
  std::string schema;  // empty: the table was dropped
  std::string table;
  bool replaces = false;
  bool admitted = false;
  int workers = 1;
  std::optional<std::uint64_t> rows_per_second = {};
  std::string problem = {};  // as the table has it; empty: none
};

struct BackfillOrders {
  std::vector<BackfillOrder> active;  // those to work on, the oldest first
  int failed = 0;                     // those that nobody has resumed or cancelled
};

// What became of an attempt to carry a chunk.
struct CarriedChunk {
  enum class Outcome {
    kNone,  // there is none to carry now
    kCarried,
    kBusy,  // rows are locked by others, or are too many; the chunk was split or put off
  };
  Outcome outcome = Outcome::kNone;
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;                              // of their text
  std::chrono::steady_clock::duration locked_for = {};  // without the commit
};

class BackfillSql {
 public:
  // Connects. Both must outlive this; `whole_table` bounds what may take as long as it needs.
  BackfillSql(const std::string& conninfo, const std::string& source, SqlWatch& watch,
              SqlWatch& whole_table);

  [[nodiscard]] BackfillOrders orders();
  [[nodiscard]] bool is_running(std::int64_t id);
  // When no chunk can be carried now: how long to wait before the next look, `longest` at most.
  // Nothing: it was paused, or has ended.
  [[nodiscard]] std::optional<std::chrono::milliseconds> until_next(
      std::int64_t id, std::chrono::milliseconds longest);
  [[nodiscard]] Lsn wal_end();
  // Schema and name of every captured table that never had a backfill.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> tables_without();
  // Orders a backfill of a table that never had one; false: it had. Throws BackfillImpossible.
  [[nodiscard]] bool order_once(const std::string& schema, const std::string& table);

  // At the start of a session on this timeline: backfills that began on another begin anew, since a
  // failover may have lost what was noted of moved rows. Returns how many.
  [[nodiscard]] int open(std::uint32_t timeline);
  [[nodiscard]] bool admit(std::int64_t id, std::uint32_t timeline);
  // False: every chunk is made. Throws BackfillImpossible.
  [[nodiscard]] bool plan(std::int64_t id, std::uint64_t rows);
  // Throws BackfillImpossible. A whole table's third attempt that got its lock is the last one,
  // however it ended: each locks out those who write.
  [[nodiscard]] CarriedChunk carry(std::int64_t id, bool whole_table);

  struct Done {
    std::int64_t chunks = 0;
    Lsn wal_end;  // what the relay must have carried
  };
  [[nodiscard]] std::optional<Done> done(std::int64_t id);
  // False: chunks were added meanwhile.
  [[nodiscard]] bool complete(std::int64_t id, std::int64_t chunks);
  void note(std::int64_t id, const std::string& problem, bool failed);

  // Rows took these keys, a JSON array of objects, by the commit of `xid`. False: no backfill of
  // the source is under way.
  [[nodiscard]] bool moved(std::uint32_t table, const std::string& keys_json, std::uint32_t xid);
  // Moves of the table could not be noted: its backfill ends as cancelled.
  void cancel(std::uint32_t table, const std::string& problem);

 private:
  template <class Body>
  auto transact(Body body);
  // How often a whole table was begun, with this time; nothing: it may not be now.
  std::optional<int> begin_whole_table(std::int64_t id);

  std::string name_;
  SqlWatch& watch_;
  SqlWatch& whole_table_watch_;
  Source source_;
  // Row locks are waited for, and held, for a fraction of what makes PostgreSQL look for deadlocks:
  // whoever waits for us gets its turn before it can be chosen as a victim.
  std::chrono::milliseconds deadlock_timeout_{1000};
};

}  // namespace postrider
