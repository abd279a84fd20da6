// A thing to poll() on that any thread, or a signal handler, can make readable.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>

#include "base/error.h"

namespace postrider {

class Wake {
 public:
  Wake() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (fd_ < 0) throw Failure(ErrorKind::kInternal, "eventfd failed");
  }
  ~Wake() { ::close(fd_); }
  Wake(const Wake&) = delete;
  Wake& operator=(const Wake&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  // Async-signal-safe.
  void signal() const noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
  }
  // Makes it unreadable again.
  void clear() const noexcept {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto read = ::read(fd_, &count, sizeof count);
  }
  // Waits until it is readable, and says whether it is. Does not clear it.
  [[nodiscard]] bool wait_for(std::chrono::milliseconds timeout) const {
    pollfd entry{fd_, POLLIN, 0};
    return ::poll(&entry, 1, static_cast<int>(timeout.count())) > 0;
  }

 private:
  int fd_;
};

}  // namespace postrider
