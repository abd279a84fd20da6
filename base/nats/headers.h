// A NATS message's header block, taken apart: NATS/1.0, then lines of a name, a colon and a value.
// Pure; the views are into the block. Source: NATS ADR-4, "NATS Message Headers".
#pragma once

#include <algorithm>
#include <string_view>

namespace postrider::nats {

inline constexpr std::string_view kHeaderLineEnd = "\r\n";

// The first line of `rest`, which loses it and its end.
inline std::string_view take_header_line(std::string_view& rest) {
  const auto end = rest.find(kHeaderLineEnd);
  const auto line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + kHeaderLineEnd.size());
  return line;
}

// As readers take a value: blanks before and behind it are not part of it.
inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

// Shows `visit` each header's name, and what stands behind its colon, in their order. A line that
// is none is passed over.
template <class Visit>
void for_each_header(std::string_view block, Visit visit) {
  (void)take_header_line(block);  // NATS/1.0
  while (!block.empty()) {
    const auto line = take_header_line(block);
    const auto colon = line.find(':');
    if (colon != std::string_view::npos) visit(line.substr(0, colon), line.substr(colon + 1));
  }
}

}  // namespace postrider::nats
