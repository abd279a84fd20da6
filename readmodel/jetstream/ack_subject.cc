#include "readmodel/jetstream/ack_subject.h"

#include <charconv>
#include <vector>

namespace postrider {

std::optional<std::uint64_t> stream_sequence(std::string_view reply) {
  constexpr std::string_view kPrefix = "$JS.ACK.";
  constexpr std::size_t kShortForm = 7;  // tokens behind the prefix
  constexpr std::size_t kLongForm = 9;   // or one more
  if (!reply.starts_with(kPrefix)) return std::nullopt;
  reply.remove_prefix(kPrefix.size());
  std::vector<std::string_view> tokens;
  for (std::size_t dot = 0; dot != std::string_view::npos;) {
    dot = reply.find('.');
    tokens.push_back(reply.substr(0, dot));
    if (dot != std::string_view::npos) reply.remove_prefix(dot + 1);
  }
  std::string_view text;
  if (tokens.size() == kShortForm)
    text = tokens[3];
  else if (tokens.size() == kLongForm || tokens.size() == kLongForm + 1)
    text = tokens[5];
  else
    return std::nullopt;
  std::uint64_t seq = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seq);
  if (error != std::errc{} || end != text.data() + text.size() || seq == 0) return std::nullopt;
  return seq;
}

}  // namespace postrider
