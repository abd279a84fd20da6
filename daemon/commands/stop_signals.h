// SIGTERM and SIGINT as an ordinary call, on a thread of its own, so that no handler code runs.
#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace postrider {

class StopSignals {
 public:
  // Calls a function at each signal, for as long as it lives: declare it behind all that the
  // function uses.
  class Watch {
   public:
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    friend class StopSignals;
    Watch(const sigset_t& set, std::function<void()> on_stop);
    std::thread thread_;
  };

  // Before any other thread starts: they inherit the mask. A signal that comes while nobody watches
  // waits for the next one who does.
  StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // SIGHUP does nothing from now on: people send it to make a daemon read its configuration again,
  // and nobody means to end one.
  static void ignore_hangup() { std::signal(SIGHUP, SIG_IGN); }
  [[nodiscard]] Watch watch(std::function<void()> on_stop) const;

 private:
  sigset_t set_{};
};

}  // namespace postrider
