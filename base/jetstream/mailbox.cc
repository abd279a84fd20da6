#include "base/jetstream/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <map>

namespace postrider {
namespace {

struct Registry {
  std::mutex mutex;
  std::uintptr_t last = 0;
  std::map<std::uintptr_t, std::weak_ptr<ErrorBox>> boxes;
};

Registry& registry() {
  static auto* registry = new Registry;  // never destroyed: threads of nats.c outlive main
  return *registry;
}

}  // namespace

ErrorBox::ErrorBox() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (fd_ < 0) throw Failure(ErrorKind::kInternal, "eventfd failed");
}

ErrorBox::~ErrorBox() {
  {
    const std::lock_guard lock(registry().mutex);
    registry().boxes.erase(number_);
  }
  ::close(fd_);
}

void ErrorBox::enter(const std::shared_ptr<ErrorBox>& box) {
  const std::lock_guard lock(registry().mutex);
  box->number_ = ++registry().last;
  registry().boxes[box->number_] = box;
}

std::shared_ptr<ErrorBox> ErrorBox::find(void* key) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().boxes.find(reinterpret_cast<std::uintptr_t>(key));
  return found == registry().boxes.end() ? nullptr : found->second.lock();
}

void ErrorBox::put(Error error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  wake();
}

std::optional<Error> ErrorBox::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void ErrorBox::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
}

void ErrorBox::clear_wake() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(fd_, &count, sizeof count);
}

}  // namespace postrider
