// The relay: owns a source and carries its events, session after session, until told to stop.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/postgres/sql_watch.h"
#include "base/wake.h"
#include "relay/options.h"
#include "relay/maintenance.h"
#include "relay/ownership.h"
#include "relay/postgres/replication.h"
#include "relay/status.h"

namespace postrider {

class Session;
struct OpenSession;

class Relay {
 public:
  // `preflight` runs each time the source has become ours, when both servers answer and before
  // anything is written. It throws Failure: what it finds, or that a server is away after all.
  explicit Relay(RelayOptions options, std::function<void()> preflight = {});
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Blocks until request_stop(), or with until_caught_up until everything committed before the
  // start is published. Transient errors end a session and start the next; throws Failure for what
  // only a person can resolve. False when until_caught_up was asked for and it was stopped before.
  [[nodiscard]] bool run();

  // From any thread or a signal handler; asking twice is asking once. run() drains and returns.
  void request_stop() noexcept;

  // From any thread.
  [[nodiscard]] RelayStatus status() const { return board_.read(); }

 private:
  // True when the relay is done; false when another session should follow.
  bool run_session();
  // Waits, for as long as it takes; false when asked to stop. With a WAL that streams already it
  // waits for a moment only, and throws kPostgresUnavailable: the next session waits without one.
  [[nodiscard]] bool await_standbys(OpenSession& open);
  void stand_by(const std::string& blocked);
  void note_failure(const Error& error);
  // Waits before the next session, keeping a held replication connection alive.
  void back_off();
  void keep_held_wal_alive();
  void note_republication(std::uint64_t published_before, std::uint64_t mark_ordinal);

  const RelayOptions options_;
  const std::function<void()> preflight_;
  bool preflight_due_ = true;
  StatusBoard board_;
  bool caught_up_ = false;  // at the end of the last session
  Wake wake_;
  std::atomic<bool> stop_{false};
  SqlWatch sql_watch_;
  std::unique_ptr<Ownership> ownership_;
  std::unique_ptr<Maintenance> maintenance_;  // while the source is ours

  // Of the last session, while the broker is away: the slot stays ours and PostgreSQL hears from
  // us.
  struct HeldWal {
    std::unique_ptr<ReplicationConnection> connection;
    Lsn received;
    Lsn confirmed;
    bool failover = false;  // the slot
  };
  HeldWal held_;
  std::uint64_t published_ordinal_ = 0;  // newest that the broker ever acknowledged to this process
  // Since when an acknowledgement has been waited for, session after session.
  std::optional<std::chrono::steady_clock::time_point> pending_since_;
  int failures_in_a_row_ = 0;
  Error last_error_{ErrorKind::kInternal, "", ""};
};

}  // namespace postrider
