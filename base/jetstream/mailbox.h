// Where nats.c's threads, or one that reads a stream, leave what they bring, and the thread that
// works with it takes it. Thread-safe.
//
// nats.c may bring something after its connection was destroyed: it waits neither for a message
// callback that is running nor for the closed callback. So its callbacks hold a key, not a pointer:
// what nobody waits for any more finds no mailbox.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace postrider {

// The part that every connection has: an error, and something to wait on.
class ErrorBox {
 public:
  virtual ~ErrorBox();
  ErrorBox(const ErrorBox&) = delete;
  ErrorBox& operator=(const ErrorBox&) = delete;

  // Nothing once the last owner of the mailbox has let go of it.
  [[nodiscard]] static std::shared_ptr<ErrorBox> find(void* key);

  [[nodiscard]] void* key() const { return reinterpret_cast<void*>(number_); }
  // An eventfd, readable when there is something to take or an error to throw.
  [[nodiscard]] int fd() const { return fd_; }

  // Only the first error counts: the others follow from it.
  void put(Error error);
  [[nodiscard]] std::optional<Error> error() const;

 protected:
  ErrorBox();
  // Enters `box` where find() looks.
  static void enter(const std::shared_ptr<ErrorBox>& box);
  void wake() const;
  void clear_wake() const;

  mutable std::mutex mutex_;
  std::optional<Error> error_;

 private:
  std::uintptr_t number_ = 0;
  int fd_;
};

template <class Item>
class Mailbox final : public ErrorBox {
 public:
  [[nodiscard]] static std::shared_ptr<Mailbox> open() {
    std::shared_ptr<Mailbox> box(new Mailbox);
    enter(box);
    return box;
  }
  // Nothing once the last owner has let go of it. The key must be that of a mailbox of this Item.
  [[nodiscard]] static std::shared_ptr<Mailbox> find(void* key) {
    return std::static_pointer_cast<Mailbox>(ErrorBox::find(key));
  }

  using ErrorBox::put;
  void put(Item item) {
    put(std::move(item), [](Item&, Item&) { return false; });
  }
  // Where something still waits: `join(newest, item)` says whether it has made `item` part of it.
  // For what comes whether or not anybody takes it, which would grow without bound.
  template <class Join>
  void put(Item item, Join join) {
    const std::lock_guard lock(mutex_);
    const bool was_empty = items_.empty();
    if (!was_empty && join(items_.back(), item)) return;
    items_.push_back(std::move(item));
    if (was_empty) wake();
  }
  // Moves what has come into `items`, in its order. Items first: they came before the error. Throws
  // the error once nothing else is left.
  void take(std::vector<Item>& items) {
    clear_wake();
    const std::lock_guard lock(mutex_);
    items.clear();
    items.swap(items_);
    if (items.empty() && error_) throw Failure(*error_);
    if (error_) wake();
  }

 private:
  Mailbox() = default;
  std::vector<Item> items_;
};

}  // namespace postrider
