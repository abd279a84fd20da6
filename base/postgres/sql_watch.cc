#include "base/postgres/sql_watch.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace postrider {
namespace {

// How late an overrun may be noticed: statements come and go without waking the thread.
constexpr std::chrono::milliseconds kTick{500};

}  // namespace

SqlWatch::Guard::Guard(SqlWatch* watch, int socket) : watch_(watch) {
  if (watch_ == nullptr) return;
  socket_ = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
  deadline_ = std::chrono::steady_clock::now() + watch_->limits_.statement;
  const std::lock_guard lock(watch_->mutex_);
  place_ = watch_->guards_.insert(watch_->guards_.end(), this);
}

SqlWatch::Guard::~Guard() {
  if (watch_ == nullptr) return;
  const std::lock_guard lock(watch_->mutex_);
  watch_->guards_.erase(place_);
  ::close(socket_);
}

SqlWatch::SqlWatch(Limits limits) : limits_(limits) {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "pr-sql-watch");
}

SqlWatch::~SqlWatch() {
  end_ = true;
  wake_.signal();
  thread_.join();
}

void SqlWatch::stop() noexcept {
  stop_ = true;
  wake_.signal();
}

void SqlWatch::run() {
  while (!end_) {
    if (wake_.wait_for(kTick)) wake_.clear();
    const auto now = std::chrono::steady_clock::now();
    if (stop_ && !stop_deadline_) stop_deadline_ = now + limits_.after_stop;
    const std::lock_guard lock(mutex_);
    for (const Guard* guard : guards_) {
      const auto deadline =
          stop_deadline_ ? std::min(guard->deadline_, *stop_deadline_) : guard->deadline_;
      if (now >= deadline) ::shutdown(guard->socket_, SHUT_RDWR);
    }
  }
}

}  // namespace postrider
