#include "statement.h"

#include <utility>

namespace postrider {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

void append_hex(std::string& out, unsigned char byte) {
  out += kHexDigits[byte >> 4];
  out += kHexDigits[byte & 0xf];
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      append_hex(out, byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

std::string bytea_text(std::span<const std::byte> data) {
  std::string text;
  text.reserve(2 + 2 * data.size());
  text += "\\x";
  for (const std::byte byte : data) append_hex(text, std::to_integer<unsigned char>(byte));
  return text;
}

std::string json_object(const std::map<std::string, std::string>& members) {
  std::string text = "{";
  for (const auto& [name, value] : members) {
    if (text.size() > 1) text += ',';
    append_json_string(text, name);
    text += ':';
    append_json_string(text, value);
  }
  text += '}';
  return text;
}

void TextArray::add(const std::optional<std::string_view>& element) {
  if (text_.size() > 1) text_ += ',';
  if (!element) {
    text_ += "NULL";
    return;
  }
  text_ += '"';  // always quoted: else NULL, blanks, commas and braces would mean something
  for (const char c : *element) {
    if (c == '"' || c == '\\') text_ += '\\';
    text_ += c;
  }
  text_ += '"';
}

std::string TextArray::take() {
  text_ += '}';
  return std::exchange(text_, "{");
}

}  // namespace postrider
