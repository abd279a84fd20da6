#include "postrider/position.h"

#include <charconv>

namespace postrider {
namespace {

constexpr std::size_t kTimelineDigits = 8;
constexpr std::size_t kLsnDigits = 16;
constexpr std::size_t kIndexDigits = 8;
constexpr std::size_t kPartDigits = 4;

void append_hex(std::string& out, std::uint64_t value, std::size_t digits) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const std::size_t start = out.size();
  out.resize(start + digits);
  for (std::size_t i = digits; i-- > 0; value >>= 4U) out[start + i] = kHex[value & 0xFU];
}

template <class T>
void append_decimal(std::string& out, T value) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, end);
}

// Takes fields off the front of a text; any mismatch is sticky.
class Fields {
 public:
  explicit Fields(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return ok_ && rest_.empty(); }

  void expect(std::string_view literal) {
    if (!ok_ || !rest_.starts_with(literal)) return fail();
    rest_.remove_prefix(literal.size());
  }
  [[nodiscard]] bool accept(std::string_view literal) {
    if (!ok_ || !rest_.starts_with(literal)) return false;
    rest_.remove_prefix(literal.size());
    return true;
  }
  // Exactly `digits` upper-case hexadecimal digits.
  template <class T>
  T hex(std::size_t digits) {
    if (!ok_ || rest_.size() < digits) return failed<T>();
    std::uint64_t value = 0;
    for (const char c : rest_.substr(0, digits)) {
      const bool digit = c >= '0' && c <= '9';
      if (!digit && !(c >= 'A' && c <= 'F')) return failed<T>();
      value = (value << 4U) | static_cast<std::uint64_t>(digit ? c - '0' : c - 'A' + 10);
    }
    rest_.remove_prefix(digits);
    return static_cast<T>(value);
  }
  // A decimal number without superfluous leading zeros; zero has no sign.
  template <class T>
  T decimal() {
    T value{};
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    const auto length = static_cast<std::size_t>(end - rest_.data());
    if (!ok_ || error != std::errc{}) return failed<T>();
    const auto digits = rest_.substr(rest_[0] == '-' ? 1 : 0);
    if (digits[0] == '0' && length > 1) return failed<T>();
    rest_.remove_prefix(length);
    return value;
  }

 private:
  void fail() { ok_ = false; }
  template <class T>
  T failed() {
    fail();
    return {};
  }

  std::string_view rest_;
  bool ok_ = true;
};

Position take_position(Fields& fields) {
  Position position;
  position.timeline = fields.hex<std::uint32_t>(kTimelineDigits);
  fields.expect("/");
  position.commit_lsn.value = fields.hex<std::uint64_t>(kLsnDigits);
  fields.expect("/");
  position.index = fields.hex<std::uint32_t>(kIndexDigits);
  if (fields.accept(".")) position.part = fields.hex<std::uint16_t>(kPartDigits);
  return position;
}

void append_position(std::string& out, const Position& position) {
  append_hex(out, position.timeline, kTimelineDigits);
  out += '/';
  append_hex(out, position.commit_lsn.value, kLsnDigits);
  out += '/';
  append_hex(out, position.index, kIndexDigits);
  if (!position.part) return;
  out += '.';
  append_hex(out, *position.part, kPartDigits);
}

}  // namespace

std::string OrdinalRange::to_string() const {
  return std::to_string(first) + "-" + std::to_string(last);
}

std::optional<OrdinalRange> OrdinalRange::parse(std::string_view text) {
  Fields fields(text);
  OrdinalRange range;
  range.first = fields.decimal<std::uint64_t>();
  fields.expect("-");
  range.last = fields.decimal<std::uint64_t>();
  if (!fields.at_end() || range.first == 0 || range.last < range.first) return std::nullopt;
  return range;
}

std::string Position::to_string() const {
  std::string text;
  append_position(text, *this);
  return text;
}

std::optional<Position> Position::parse(std::string_view text) {
  Fields fields(text);
  const Position position = take_position(fields);
  if (!fields.at_end()) return std::nullopt;
  return position;
}

void PositionHeader::append_to(std::string& out) const {
  out += "v1 ";
  append_decimal(out, ordinal);
  out += ' ';
  append_position(out, position);
  out += ' ';
  append_decimal(out, fingerprint.xid);
  out += ' ';
  append_decimal(out, fingerprint.commit_time_us);
  out += ' ';
  append_decimal(out, epoch);
  if (last) out += " last";
}

std::string PositionHeader::to_string() const {
  std::string text;
  append_to(text);
  return text;
}

std::optional<PositionHeader> PositionHeader::parse(std::string_view text) {
  Fields fields(text);
  PositionHeader header;
  fields.expect("v1 ");
  header.ordinal = fields.decimal<std::uint64_t>();
  fields.expect(" ");
  header.position = take_position(fields);
  fields.expect(" ");
  header.fingerprint.xid = fields.decimal<std::uint32_t>();
  fields.expect(" ");
  header.fingerprint.commit_time_us = fields.decimal<std::int64_t>();
  fields.expect(" ");
  header.epoch = fields.decimal<std::uint32_t>();
  header.last = fields.accept(" last");
  if (!fields.at_end() || header.ordinal == 0) return std::nullopt;
  return header;
}

}  // namespace postrider
