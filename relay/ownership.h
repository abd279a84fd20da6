// Which relay may carry a source: the holder of one advisory lock, for as long as it shows life.
//
// The holder's lock connection runs a statement about once a second; PostgreSQL notes when it
// ended. A relay that finds the lock taken stands by. When the holder's connection has been idle
// for longer than takeover_after, by the server's clock or by the standby's own
// (progress/holder_life), its process is paused or its host is gone: the standby ends its
// backends (lock and walsender, which the same role may) and takes over. Two owners at once are
// therefore possible for a moment and harmless: the session number fences the row, and content is a
// function of the ordinal.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/wake.h"
#include "relay/options.h"

namespace postrider {

struct LockHolder;
class Source;
class SqlWatch;
class StatusBoard;

class Ownership {
 public:
  // `control` is signalled when the ownership is lost; both it and `watch` must outlive this.
  // While the source is ours, what its slot retains is put on `board` every few seconds.
  Ownership(const RelayOptions& options, const Wake& control, SqlWatch& watch, StatusBoard& board);
  ~Ownership();
  Ownership(const Ownership&) = delete;
  Ownership& operator=(const Ownership&) = delete;

  // Waits until this process owns the source. False when `stop` became true first. `on_standby` is
  // called if another relay holds it, once and again when what it is told changes: why this process
  // can never take over, or nothing. Throws Failure when PostgreSQL cannot be reached.
  [[nodiscard]] bool acquire(const std::function<bool()>& stop,
                             const std::function<void(const std::string& blocked)>& on_standby);

  // False once the lock connection has broken: the session must end.
  [[nodiscard]] bool held() const;
  // Throws kSessionFenced when `source`, another connection, shows that the lock is not ours any
  // more: the lock's own may be cut off and not know yet.
  void require_held(Source& source) const;

 private:
  // True when it was found dead.
  bool end_dead_holder(Source& source, const LockHolder& holder,
                       std::chrono::milliseconds silence) const;
  void keep_alive();
  void report_slot();

  const RelayOptions& options_;
  const Wake& control_;
  SqlWatch& watch_;
  StatusBoard& board_;
  struct Shared;
  std::unique_ptr<Shared> shared_;
  int backend_pid_ = 0;          // of the lock's connection
  Lsn flushed_;                  // at the last report; this and the next are the heartbeat thread's
  std::string standbys_behind_;  // as last said
  std::thread heartbeat_;
};

}  // namespace postrider
