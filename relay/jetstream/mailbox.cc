#include "relay/jetstream/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <map>
#include <utility>

namespace postrider {
namespace {

struct Registry {
  std::mutex mutex;
  std::uintptr_t last = 0;
  std::map<std::uintptr_t, std::weak_ptr<Mailbox>> boxes;
};

Registry& registry() {
  static auto* registry = new Registry;  // never destroyed: threads of nats.c outlive main
  return *registry;
}

}  // namespace

std::shared_ptr<Mailbox> Mailbox::open() {
  auto box = std::make_shared<Mailbox>();
  const std::lock_guard lock(registry().mutex);
  box->number_ = ++registry().last;
  registry().boxes[box->number_] = box;
  return box;
}

std::shared_ptr<Mailbox> Mailbox::find(void* key) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().boxes.find(reinterpret_cast<std::uintptr_t>(key));
  return found == registry().boxes.end() ? nullptr : found->second.lock();
}

Mailbox::Mailbox() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (fd_ < 0) throw Failure(ErrorKind::kInternal, "eventfd failed");
}

Mailbox::~Mailbox() {
  {
    const std::lock_guard lock(registry().mutex);
    registry().boxes.erase(number_);
  }
  ::close(fd_);
}

void Mailbox::put(wire::PubAck ack) {
  const std::lock_guard lock(mutex_);
  const bool was_empty = answers_.empty();
  answers_.push_back(std::move(ack));
  if (was_empty) wake();
}

void Mailbox::put(Error error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  wake();
}

void Mailbox::take(std::vector<wire::PubAck>& answers) {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(fd_, &count, sizeof count);
  const std::lock_guard lock(mutex_);
  answers.clear();
  answers.swap(answers_);
  if (answers.empty() && error_) throw Failure(*error_);
  if (error_) wake();
}

std::optional<Error> Mailbox::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void Mailbox::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
}

}  // namespace postrider
