// What a repair writes into the source, as the outbox's owner: that it has begun, and its end. Each
// is one transaction, fenced by the session number: kSessionFenced when a newer session exists.
// Throws Failure. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/postgres/sql.h"
#include "daemon/repair/plan.h"
#include "daemon/verify/stream_join.h"
#include "postrider/lsn.h"

namespace postrider {

struct RepairedRow {
  std::string slot;
  std::string snapshot;  // exported at the slot's consistent point
  Lsn point;
  std::uint32_t timeline = 0;
  std::string system_id;
  std::string incarnation;  // of the stream; empty: there is none
  std::string epochs_json;
  std::uint32_t epoch = 0;
  std::int64_t commit_time_us = 0;  // of the newest event that is known to have been published
};

// What came of sending captured tables again.
struct OrderedBackfill {
  std::string table;
  std::string problem;  // why it was not ordered; empty: it was
};

class RepairRow {
 public:
  // kConfiguration unless it is the database of that system identifier.
  RepairRow(const std::string& owner_conninfo, std::string source, std::int64_t session,
            const std::string& system_id);
  ~RepairRow();
  RepairRow(const RepairRow&) = delete;
  RepairRow& operator=(const RepairRow&) = delete;

  // From here on no relay begins a session. Closes the wal store: waits for its writers, at most
  // `limit`.
  void begin(const BegunRepair& begun, std::chrono::milliseconds limit);

  // Takes begin() back, where nothing else was done.
  void abandon();

  // True where the server keeps commit times, by which the rows are then ordered.
  [[nodiscard]] bool tracks_commit_times();

  // Captured tables but `outboxes`, which are sent again whole.
  [[nodiscard]] std::vector<OrderedBackfill> tables_to_replace(
      const std::vector<std::string>& outboxes);

  // In one transaction: writes the rows of `missing` into the WAL again under their ids, orders a
  // replacing backfill of each captured table but `outboxes`, and makes the row vouch for the slot.
  [[nodiscard]] std::vector<OrderedBackfill> finish(const RepairedRow& row, const RepairPlan& plan,
                                                    const std::vector<OutboxRow>& missing,
                                                    const std::vector<std::string>& outboxes);

 private:
  std::unique_ptr<pqxx::connection> connection_;
  std::string source_;
  std::int64_t session_;
};

// Nothing: none has begun. Throws what libpqxx throws.
[[nodiscard]] std::optional<BegunRepair> read_begun_repair(pqxx::connection& connection,
                                                           const std::string& source);

}  // namespace postrider
