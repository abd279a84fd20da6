// What the relay knows about itself, for readiness, metrics and logs. One writer (the relay's
// thread), any readers; a reader gets a consistent copy.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "postrider/lsn.h"
#include "relay/progress/mark.h"

namespace postrider {

enum class RelayState {
  kStarting,  // a session is being opened
  kStandby,   // another relay owns the source; ready to take over
  kRunning,   // carrying events
  kWaiting,   // the last session ended; the next one starts after a backoff
  kDraining,  // asked to stop; waiting for the last acknowledgements
  kHalted,    // only a person can help; the process is about to exit
  kStopped,
};
[[nodiscard]] const char* to_string(RelayState state);

struct RelayStatus {
  RelayState state = RelayState::kStarting;
  std::string error;  // of the last session, until the next one runs
  std::string error_kind;
  bool stalled = false;  // work pending and no acknowledgement, or a silent walsender
  std::string stall;     // which

  std::int64_t session = 0;
  std::uint32_t epoch = 0;
  std::string incarnation;
  Lsn received;    // end of what the server has sent
  Mark published;  // newest message acknowledged by the broker
  Lsn confirmed;   // what PostgreSQL was told to forget
  // What the slot keeps, read every few seconds by whoever owns the source, also while the broker
  // is away. Nothing while standing by.
  std::optional<std::int64_t> wal_retained_bytes;
  // Those in synchronized_standby_slots that lack what was flushed a report ago: events wait for them.
  std::string standbys_behind;
  std::string blocked;             // why a standby can never become the owner; empty: it can
  std::size_t in_flight = 0;
  std::size_t in_flight_bytes = 0;

  std::uint64_t events_total = 0;        // published since the process started
  std::uint64_t bytes_total = 0;         // of their messages
  std::uint64_t republished_total = 0;   // published again after the broker had lost them
  std::uint64_t recognised_total = 0;    // decoded again and found in the stream
  std::uint64_t transactions_total = 0;  // with at least one carried event
  std::uint64_t ignored_changes_total = 0;
  std::set<std::string> unmatched_tables;  // published, with changes, and named by no [[capture]]
  std::uint64_t sessions_total = 0;
  std::uint64_t confirmations_total = 0;
  std::uint64_t backfilled_rows_total = 0;  // written into the WAL by backfills
  int backfills_failed = 0;                 // until they are resumed or cancelled
  int backfills_active = 0;                 // ordered, and neither ended nor paused
  std::int64_t last_commit_time_us = 0;     // of the newest published event, since 1970-01-01 UTC

  // True when an orchestrator should count on this process: it carries events, or stands by to.
  [[nodiscard]] bool ready() const {
    return !stalled && blocked.empty() && standbys_behind.empty() &&
           (state == RelayState::kRunning || state == RelayState::kStandby ||
            state == RelayState::kDraining);
  }
};

class StatusBoard {
 public:
  [[nodiscard]] RelayStatus read() const {
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
  RelayStatus status_;
};

}  // namespace postrider
