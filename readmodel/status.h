// What an applier knows about one read model, for readiness, metrics and logs. One writer (its
// thread), any readers; a reader gets a consistent copy.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "readmodel/progress/cursor.h"

namespace postrider {

enum class ReadModelState : std::uint8_t {
  kStarting,  // nothing is committed yet, and something may be there to apply
  kStandby,   // another process applies it; ready to take over
  kRunning,   // applying: something was committed, or there was nothing to apply
  kWaiting,   // for a server, or for the stream to hold what was applied; tries again by itself
  kStopped,   // a projection refuses a transaction: waits for `postrider apply retry` or `skip`
  kHalted,    // only a person can help
  kEnded,
};
[[nodiscard]] const char* to_string(ReadModelState state);

// So long may a batch take, or a piece of a large transaction. A projection waits at most ten
// seconds for a lock, and what passes by itself is tried again within five.
inline constexpr std::chrono::minutes kReadModelStalledAfter{5};

struct ReadModelStatus {
  using Time = std::chrono::steady_clock::time_point;

  std::string name;
  ReadModelState state = ReadModelState::kStarting;
  std::string error;  // of the last session, until one after it has committed something
  std::string error_kind;
  // When it began to apply what is not applied yet, in whatever session; nothing: there is nothing
  // to apply, or verify holds it back.
  std::optional<Time> pending_since;
  std::uint64_t furthest_piece = 0;  // ordinal: up to there transactions were applied in pieces
  bool stalled = false;              // pending for too long; said by whoever reads the board
  Cursor cursor;
  std::uint64_t stream_first_seq = 0;
  std::uint64_t stream_last_seq = 0;
  bool nears_stream_start = false;  // retention will soon remove what is not applied yet

  std::uint64_t events_total = 0;  // applied since the process started
  std::uint64_t transactions_total = 0;
  std::uint64_t batches_total = 0;
  std::uint64_t skipped_total = 0;  // events seen again and passed over
  std::uint64_t parked_total = 0;   // source transactions set aside
  std::uint64_t sessions_total = 0;
  // Of replica tables; attempts that were rolled back count, too.
  std::uint64_t replica_rows_total = 0;      // rows written or deleted
  std::uint64_t replica_missing_total = 0;   // updates passed over: the row is not there
  std::uint64_t replica_in_order_total = 0;  // batches written row by row

  // True when an orchestrator should count on it.
  [[nodiscard]] bool ready() const {
    return !nears_stream_start && !stalled &&
           (state == ReadModelState::kRunning || state == ReadModelState::kStandby);
  }
  [[nodiscard]] std::uint64_t lag_events() const {
    return stream_last_seq > cursor.seq ? stream_last_seq - cursor.seq : 0;
  }

  // Something was committed, or there is nothing to commit.
  void goes_on() {
    state = ReadModelState::kRunning;
    error.clear();
    error_kind.clear();
    pending_since.reset();
  }
  // A piece of a transaction that is larger than memory was applied, up to this ordinal. Behind
  // trouble only one that comes further than any before it shows that the trouble has passed.
  void piece_applied(std::uint64_t ordinal) {
    if (error.empty() || ordinal > furthest_piece) goes_on();
    furthest_piece = std::max(furthest_piece, ordinal);
  }
  // It waits, and applies nothing.
  void waits(ReadModelState as) {
    state = as;
    pending_since.reset();
  }
  // What it waited for has come.
  void begins() {
    waits(ReadModelState::kStarting);
    error.clear();
    error_kind.clear();
  }
  // The one who applies may hang in a projection, and says nothing then.
  [[nodiscard]] bool stalled_at(Time now) const {
    const bool applies = state == ReadModelState::kStarting || state == ReadModelState::kRunning ||
                         state == ReadModelState::kWaiting;
    return applies && pending_since && now - *pending_since > kReadModelStalledAfter;
  }
};

class ReadModelBoard {
 public:
  // As it is at `now`.
  [[nodiscard]] ReadModelStatus read(
      ReadModelStatus::Time now = std::chrono::steady_clock::now()) const {
    const std::lock_guard lock(mutex_);
    auto status = status_;
    status.stalled = status.stalled_at(now);
    return status;
  }
  template <class Change>
  void update(Change change) {
    const std::lock_guard lock(mutex_);
    change(status_);
  }

 private:
  mutable std::mutex mutex_;
  ReadModelStatus status_;
};

}  // namespace postrider
