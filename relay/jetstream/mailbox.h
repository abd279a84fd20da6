// Where nats.c's threads leave what they bring, and the session's thread takes it. Thread-safe.
//
// nats.c may bring something after its connection was destroyed: it waits neither for a message
// callback that is running nor for the closed callback. So its callbacks hold a key, not a pointer:
// what nobody waits for any more finds no mailbox.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "relay/error.h"
#include "relay/wire/pub_ack.h"

namespace postrider {

class Mailbox {
 public:
  [[nodiscard]] static std::shared_ptr<Mailbox> open();
  // Nothing once the last owner of the mailbox has let go of it.
  [[nodiscard]] static std::shared_ptr<Mailbox> find(void* key);

  Mailbox();  // through open()
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  [[nodiscard]] void* key() const { return reinterpret_cast<void*>(number_); }
  // An eventfd, readable when take() has something to give or to throw.
  [[nodiscard]] int fd() const { return fd_; }

  void put(wire::PubAck ack);
  // Only the first error counts: the others follow from it.
  void put(Error error);
  // Answers first: they say what was stored before the connection broke. Then throws the error.
  void take(std::vector<wire::PubAck>& answers);
  [[nodiscard]] std::optional<Error> error() const;

 private:
  void wake() const;

  std::uintptr_t number_ = 0;
  int fd_;
  mutable std::mutex mutex_;
  std::vector<wire::PubAck> answers_;
  std::optional<Error> error_;
};

}  // namespace postrider
