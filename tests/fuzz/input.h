// Makes values out of a fuzzer's bytes. Each call eats from the front; once the bytes are used up,
// everything is zero or empty, so that a target always comes to an end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "relay/wire/byte_reader.h"

namespace postrider::fuzz {

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }

  std::uint8_t u8() {
    if (rest_.empty()) return 0;
    const auto value = rest_.front();
    rest_ = rest_.subspan(1);
    return value;
  }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() << 8U | u8()); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(u16()) << 16U | u16(); }
  std::uint64_t u64() { return static_cast<std::uint64_t>(u32()) << 32U | u32(); }
  bool flag() { return (u8() & 1U) != 0; }
  // 0 to bound - 1.
  std::size_t below(std::size_t bound) { return u8() % bound; }

  // A text behind its length, of one byte. Views the input.
  std::string_view text() { return bytes(u8()); }
  // The same with a length of two bytes.
  std::string_view long_text() { return bytes(u16()); }
  std::string_view rest() { return bytes(rest_.size()); }

 private:
  std::string_view bytes(std::size_t size) {
    const auto taken = rest_.first(size < rest_.size() ? size : rest_.size());
    rest_ = rest_.subspan(taken.size());
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  std::span<const std::uint8_t> rest_;
};

}  // namespace postrider::fuzz
