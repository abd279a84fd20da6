// Messages sent and not yet acknowledged, in stream order. Pure.
//
// The stream's sequence numbers are known before they are assigned: the relay is the only
// publisher, each message names the sequence that must precede it, and so the k-th message in
// flight must be stored at base + k. An acknowledgement is valid only for a stored message at a
// sequence in flight; anything else leaves the outcome in doubt, which only reading the stream can
// resolve. Acknowledgements may come out of order (after errors); only the contiguous prefix counts
// as published.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/error.h"
#include "relay/progress/mark.h"
#include "relay/wire/pub_ack.h"

namespace postrider {

// A message in flight, or acknowledged.
struct Sent {
  Mark mark;  // seq is the sequence that it must get
  std::size_t bytes = 0;
  std::optional<Lsn> commit_end;  // on the last message of its transaction
};

class Window {
 public:
  // `base` is the stream's last sequence. At most max_messages and max_bytes are in flight, but
  // always one.
  Window(std::uint64_t base, std::size_t max_messages, std::size_t max_bytes);

  [[nodiscard]] bool empty() const { return in_flight_.empty(); }
  [[nodiscard]] std::size_t messages() const { return in_flight_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool has_room(std::size_t bytes) const;
  // What Nats-Expected-Last-Sequence must say for the next message.
  [[nodiscard]] std::uint64_t expected_last() const { return last_sent_; }

  // Takes a message about to be sent; its mark.seq is set here.
  void push(Sent sent);
  // Accounts for one answer. kPublishInDoubt and kin for anything but a valid acknowledgement.
  [[nodiscard]] Result<void> acknowledge(const wire::PubAck& ack);
  // The oldest acknowledged message not yet taken, once all before it are acknowledged.
  [[nodiscard]] std::optional<Sent> take_published();

 private:
  struct Slot {
    Sent sent;
    bool acknowledged = false;
  };
  std::size_t max_messages_;
  std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  std::uint64_t last_sent_;
  std::deque<Slot> in_flight_;
};

// What a bad answer means: kPublishInDoubt (read the stream again), kBrokerRefuses (wait), or a
// halt.
[[nodiscard]] Error classify_refusal(const wire::PubAck& ack);

}  // namespace postrider
