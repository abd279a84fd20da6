// Room in a stream with a bound on its bytes. Pure.
//
// Refusing what does not fit is the broker's part (discard new), but nats-server 2.9 checks without
// its own overhead: a message that fits by a hair is stored, and the stream's oldest message is
// removed to get below the bound again. So the relay keeps count itself, too high rather than too
// low, and refuses before the broker would. The count begins anew with every session.
#pragma once

#include <cstddef>
#include <cstdint>

namespace postrider {

class StreamRoom {
 public:
  // `max_bytes` of the stream, not positive for none; `bytes` that it holds.
  StreamRoom(std::int64_t max_bytes, std::uint64_t bytes) : max_bytes_(max_bytes), bytes_(bytes) {}

  // Counts a message of that size and says whether it certainly fits.
  [[nodiscard]] bool take(std::size_t message_bytes) {
    if (max_bytes_ <= 0) return true;
    bytes_ += message_bytes + kOverhead;
    return bytes_ <= static_cast<std::uint64_t>(max_bytes_);
  }

 private:
  // The broker's record and the headers that publishing adds: under 250 bytes.
  static constexpr std::size_t kOverhead = 512;
  std::int64_t max_bytes_;
  std::uint64_t bytes_;
};

}  // namespace postrider
