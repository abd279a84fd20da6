// What an applier knows about one read model, for readiness, metrics and logs. One writer (its
// thread), any readers; a reader gets a consistent copy.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "readmodel/progress/cursor.h"

namespace postrider {

enum class ReadModelState : std::uint8_t {
  kStarting,  // a session is being opened
  kStandby,   // another process applies it; ready to take over
  kRunning,   // applying
  kWaiting,   // for a server, or for the stream to hold what was applied; tries again by itself
  kStopped,   // a projection refuses a transaction: waits for `postrider apply retry` or `skip`
  kHalted,    // only a person can help
  kEnded,
};
[[nodiscard]] const char* to_string(ReadModelState state);

struct ReadModelStatus {
  std::string name;
  ReadModelState state = ReadModelState::kStarting;
  std::string error;  // of the last session, until the next one runs
  std::string error_kind;
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
    return !nears_stream_start &&
           (state == ReadModelState::kRunning || state == ReadModelState::kStandby);
  }
  [[nodiscard]] std::uint64_t lag_events() const {
    return stream_last_seq > cursor.seq ? stream_last_seq - cursor.seq : 0;
  }
};

class ReadModelBoard {
 public:
  [[nodiscard]] ReadModelStatus read() const {
    const std::lock_guard lock(mutex_);
    return status_;
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
