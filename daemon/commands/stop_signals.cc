#include "daemon/commands/stop_signals.h"

#include <pthread.h>

namespace postrider {

StopSignals::StopSignals() {
  sigemptyset(&set_);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, SIGINT);
  sigaddset(&set_, SIGUSR2);  // our own, to end the thread
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

StopSignals::~StopSignals() {
  if (!thread_.joinable()) return;
  pthread_kill(thread_.native_handle(), SIGUSR2);
  thread_.join();
}

void StopSignals::watch(std::function<void()> on_stop) {
  thread_ = std::thread([this, on_stop = std::move(on_stop)] {
    int number = 0;
    while (sigwait(&set_, &number) == 0 && number != SIGUSR2) on_stop();
  });
  pthread_setname_np(thread_.native_handle(), "pr-signals");
}

}  // namespace postrider
