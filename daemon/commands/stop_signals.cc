#include "daemon/commands/stop_signals.h"

#include <pthread.h>

#include <utility>

namespace postrider {

StopSignals::StopSignals() {
  sigemptyset(&set_);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, SIGINT);
  sigaddset(&set_, SIGUSR2);  // our own, to end the thread
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

StopSignals::Watch StopSignals::watch(std::function<void()> on_stop) const {
  return {set_, std::move(on_stop)};
}

StopSignals::Watch::Watch(const sigset_t& set, std::function<void()> on_stop)
    : thread_([set, on_stop = std::move(on_stop)] {
        int number = 0;
        while (sigwait(&set, &number) == 0 && number != SIGUSR2) on_stop();
      }) {
  pthread_setname_np(thread_.native_handle(), "pr-signals");
}

StopSignals::Watch::~Watch() {
  pthread_kill(thread_.native_handle(), SIGUSR2);
  thread_.join();
}

}  // namespace postrider
