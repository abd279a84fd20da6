// Reads big-endian fields off a byte view, bounds-checked, with a sticky error: once a read runs
// past the end every later read returns zero or nothing, and ok() stays false. A decoder checks
// once, at its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace postrider::wire {

using Bytes = std::span<const std::byte>;

[[nodiscard]] inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline Bytes as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Views that it returns point into the bytes it was made from.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : rest_(bytes) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return ok_ && rest_.empty(); }
  [[nodiscard]] std::size_t remaining() const { return rest_.size(); }
  void fail() { ok_ = false; }

  std::uint8_t u8() { return integer<std::uint8_t>(); }
  std::uint16_t u16() { return integer<std::uint16_t>(); }
  std::uint32_t u32() { return integer<std::uint32_t>(); }
  std::uint64_t u64() { return integer<std::uint64_t>(); }
  std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
  std::int64_t i64() { return static_cast<std::int64_t>(u64()); }

  // Exactly `size` bytes.
  Bytes bytes(std::size_t size) {
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const Bytes taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  // All that is left.
  Bytes tail() { return bytes(rest_.size()); }

  // Bytes up to a terminating zero, which is consumed and not returned.
  std::string_view c_string() {
    for (std::size_t n = 0; ok_ && n < rest_.size(); ++n) {
      if (rest_[n] != std::byte{0}) continue;
      const std::string_view text = as_text(bytes(n));
      (void)bytes(1);
      return text;
    }
    ok_ = false;
    return {};
  }

 private:
  template <class T>
  T integer() {
    T value = 0;
    for (const std::byte b : bytes(sizeof(T)))
      value = static_cast<T>((static_cast<std::uint64_t>(value) << 8U) |
                             std::to_integer<std::uint64_t>(b));
    return value;
  }

  Bytes rest_;
  bool ok_ = true;
};

}  // namespace postrider::wire
