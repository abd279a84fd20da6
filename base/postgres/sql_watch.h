// Bounds SQL from the client's side. statement_timeout does not bound COMMIT's wait for synchronous
// replication, and a server that is frozen ends nothing: without this a thread could wait for ever
// and the process could not be asked to stop.
//
// A statement that overruns loses its connection. The caller sees a broken connection with the
// outcome in doubt, as after any other break. PostgreSQL's backend may go on waiting: who needs its
// locks ends it (Source::end_stuck_commits).
#pragma once

#include <atomic>
#include <chrono>
#include <list>
#include <mutex>
#include <optional>
#include <thread>

#include "base/wake.h"

namespace postrider {

class SqlWatch {
 public:
  struct Limits {
    std::chrono::milliseconds statement{
        20'000};  // beyond statement_timeout, which should act first
    std::chrono::milliseconds after_stop{2'000};  // what is left to a statement once asked to stop
  };

  explicit SqlWatch(Limits limits);
  SqlWatch() : SqlWatch(Limits{}) {}
  ~SqlWatch();
  SqlWatch(const SqlWatch&) = delete;
  SqlWatch& operator=(const SqlWatch&) = delete;

  // From any thread or a signal handler; for good.
  void stop() noexcept;

  // While it lives, the connection of `socket` is being waited for. A null watch does nothing.
  class Guard {
   public:
    Guard(SqlWatch* watch, int socket);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    friend class SqlWatch;
    SqlWatch* watch_;
    int socket_ = -1;  // our own duplicate: the library may close its number and another take it
    std::chrono::steady_clock::time_point deadline_;
    std::list<Guard*>::iterator place_;
  };

 private:
  void run();

  const Limits limits_;
  Wake wake_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> end_{false};
  std::mutex mutex_;
  std::list<Guard*> guards_;
  std::optional<std::chrono::steady_clock::time_point> stop_deadline_;
  std::thread thread_;
};

}  // namespace postrider
