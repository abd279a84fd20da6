#include "relay/capture/subject_template.h"

#include <array>
#include <cstdint>

namespace postrider {
namespace {

constexpr std::size_t kLongestToken = 80;
constexpr std::array<char, 16> kHex = {'0', '1', '2', '3', '4', '5', '6', '7',
                                       '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'};

bool is_plain(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

void append_hash(std::string& out, std::uint64_t hash) {
  out += '~';
  for (unsigned shift = 64; shift > 0; shift -= 4) out += kHex[(hash >> (shift - 4)) & 0xFU];
}

}  // namespace

void append_token(std::string& out, std::optional<std::string_view> value) {
  if (!value) {
    out += "%00%00";
    return;
  }
  if (value->empty()) {
    out += "%00";
    return;
  }
  const std::size_t begin = out.size();
  for (const char c : *value) {
    const std::size_t needed = is_plain(c) ? 1 : 3;
    if (out.size() - begin + needed > kLongestToken) {
      append_hash(out, fnv1a(*value));
      return;
    }
    if (is_plain(c)) {
      out += c;
      continue;
    }
    out += '%';
    out += kHex[static_cast<unsigned char>(c) >> 4U];
    out += kHex[static_cast<unsigned char>(c) & 0xFU];
  }
}

SubjectTemplate::SubjectTemplate(std::string_view text) {
  while (!text.empty()) {
    const auto open = text.find('{');
    const auto close = open == std::string_view::npos ? open : text.find('}', open);
    if (close == std::string_view::npos) {
      parts_.push_back({std::string(text), false});
      return;
    }
    if (open > 0) parts_.push_back({std::string(text.substr(0, open)), false});
    parts_.push_back({std::string(text.substr(open + 1, close - open - 1)), true});
    text.remove_prefix(close + 1);
  }
}

}  // namespace postrider
