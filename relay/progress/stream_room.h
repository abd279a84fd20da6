// Room in a stream with a bound on its bytes. Pure.
//
// Refusing what does not fit is the broker's part (discard new), but nats-server 2.9 checks without
// its own overhead: a message that fits by a hair is stored, and the stream's oldest message is
// removed to get below the bound again. So the relay keeps count itself, too high rather than too
// low, and refuses before the broker would. What ages out it cannot count: before it refuses, the
// count begins anew from what the stream holds with nothing in flight, as with every session.
#pragma once

#include <cstddef>
#include <cstdint>

namespace postrider {

class StreamRoom {
 public:
  // `max_bytes` of the stream, not positive for none; `bytes` that it holds.
  StreamRoom(std::int64_t max_bytes, std::uint64_t bytes) : max_bytes_(max_bytes), bytes_(bytes) {}

  // Whether a message of that size certainly fits.
  [[nodiscard]] bool fits(std::size_t message_bytes) const {
    return max_bytes_ <= 0 ||
           bytes_ + message_bytes + kOverhead <= static_cast<std::uint64_t>(max_bytes_);
  }
  // Counts a message of that size, if it certainly fits; false if not.
  [[nodiscard]] bool take(std::size_t message_bytes) {
    if (!fits(message_bytes)) return false;
    bytes_ += message_bytes + kOverhead;
    return true;
  }

 private:
  // The broker's record and the headers that publishing adds: under 250 bytes.
  static constexpr std::size_t kOverhead = 512;
  std::int64_t max_bytes_;
  std::uint64_t bytes_;
};

}  // namespace postrider
