#include "relay/tail_chain.h"

#include <algorithm>

namespace postrider {
namespace {

constexpr std::uint64_t kLargestWindow = 8192;  // of relay.window_messages, by whatever relay

}  // namespace

std::optional<ForeignMessage> find_foreign(JetStreamClient& client, const std::string& stream,
                                           std::uint64_t durable, const Mark& tail) {
  const std::uint64_t window_start = tail.seq > kLargestWindow ? tail.seq - kLargestWindow : 0;
  Position next = tail.position;
  for (std::uint64_t seq = tail.seq - 1; seq > std::max(durable, window_start); --seq) {
    const auto message = client.message(stream, seq);
    if (!message) continue;
    const auto header =
        PositionHeader::parse(wire::find_header(message->headers, kPositionHeader).value_or(""));
    if (!header) return ForeignMessage{seq, "a message on " + message->subject};
    const std::uint64_t ordinal = tail.ordinal - (tail.seq - seq);
    if (header->ordinal != ordinal || header->position >= next)
      return ForeignMessage{seq, "ordinal " + std::to_string(header->ordinal) + " at " +
                                     header->position.to_string() + " where ordinal " +
                                     std::to_string(ordinal) + " belongs"};
    next = header->position;
  }
  return std::nullopt;
}

}  // namespace postrider
