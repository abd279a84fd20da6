// SIGTERM and SIGINT as an ordinary call, on a thread of its own, so that no handler code runs.
#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace postrider {

class StopSignals {
 public:
  // Before any other thread starts: they inherit the mask.
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // SIGHUP does nothing from now on: people send it to make a daemon read its configuration again,
  // and nobody means to end one.
  static void ignore_hangup() { std::signal(SIGHUP, SIG_IGN); }
  // Calls `on_stop` at each signal from now on.
  void watch(std::function<void()> on_stop);

 private:
  sigset_t set_{};
  std::thread thread_;
};

}  // namespace postrider
