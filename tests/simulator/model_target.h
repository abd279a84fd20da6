// A model of the database of one read model: the cursor, what was applied with it, the lock of the
// applier, and transactions that lock the cursor's row from their first statement on.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "postrider/received_event.h"
#include "readmodel/progress/cursor.h"
#include "tests/simulator/model_jetstream.h"

namespace postrider::sim {

class Oracle;

class ModelTarget {
 public:
  struct Open {                    // a transaction
    std::optional<Cursor> cursor;  // moved to; then it holds the row's lock
    std::vector<ReceivedEvent> applied;
  };
  struct Session {
    std::optional<Open> open;
    Time last_statement;
  };

  ModelTarget(const Time& now, Oracle& oracle) : now_(now), oracle_(oracle) {}

  [[nodiscard]] const Cursor& cursor() const { return cursor_; }
  [[nodiscard]] std::uint64_t commits() const { return commits_; }

  // ---- What appliers do; nullptr where the connection has ended ----
  std::int64_t connect();
  [[nodiscard]] Session* session(std::int64_t id);
  void close(std::int64_t id);
  [[nodiscard]] bool try_lock(std::int64_t id);
  bool end_dead_holder(std::chrono::milliseconds idle);
  // True when a transaction of another session holds the row.
  [[nodiscard]] bool row_is_locked(std::int64_t id) const;
  // The compare-and-set. False when the cursor is elsewhere.
  [[nodiscard]] bool move(std::int64_t id, const Cursor& from, const Cursor& to);
  void commit(std::int64_t id);

  // ---- What happens ----
  void crash();  // and is up again

 private:
  const Time& now_;
  Oracle& oracle_;
  Cursor cursor_;
  std::uint64_t commits_ = 0;
  std::int64_t last_id_ = 0;
  std::int64_t lock_holder_ = 0;
  std::map<std::int64_t, Session> sessions_;
};

}  // namespace postrider::sim
