// What every message must keep to before it may reach a broker, written down once more and
// independently of relay/route: NATS' own rules for subjects and header lines.
#pragma once

#include <string>
#include <string_view>

#include "relay/route/encoder.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {

// A literal NATS subject: tokens parted by dots, none empty, without blanks, controls, wildcards,
// and not one of the system's.
[[nodiscard]] inline bool is_legal_subject(std::string_view subject) {
  if (subject.empty() || subject.front() == '$' || subject.front() == '_') return false;
  char before = '.';
  for (const char c : subject) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7F || c == '*' || c == '>') return false;
    if (c == '.' && before == '.') return false;
    before = c;
  }
  return before != '.';
}

[[nodiscard]] inline bool is_legal_header_name(std::string_view name) {
  for (const char c : name)
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7F || c == ':')
      return false;
  return !name.empty();
}

[[nodiscard]] inline bool is_legal_header_value(std::string_view value) {
  return value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

inline void require_legal(const Message& message) {
  REQUIRE(is_legal_subject(message.subject));
  for (const auto& [name, value] : message.headers) {
    REQUIRE(is_legal_header_name(name));
    REQUIRE(is_legal_header_value(value));
  }
}

// As it goes over the wire, which STREAM.MSG.GET shows.
[[nodiscard]] inline std::string header_lines(const Message& message) {
  std::string lines = "NATS/1.0\r\n";
  for (const auto& [name, value] : message.headers)
    lines.append(name).append(": ").append(value).append("\r\n");
  return lines + "\r\n";
}

}  // namespace postrider::fuzz
