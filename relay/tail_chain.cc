#include "relay/tail_chain.h"

#include <algorithm>
#include <map>

namespace postrider {
namespace {

constexpr std::uint64_t kLargestWindow = 8192;  // of relay.window_messages, by whatever relay

struct Place {
  std::optional<PositionHeader> header;  // nothing: not a message of a relay
  std::string subject;
};

}  // namespace

std::optional<ForeignMessage> find_foreign(JetStreamClient& client, const std::string& stream,
                                           std::uint64_t durable, const Mark& tail,
                                           const TimelineHistory& history,
                                           const std::vector<std::uint32_t>& epochs) {
  const std::uint64_t window_start = tail.seq > kLargestWindow ? tail.seq - kLargestWindow : 0;
  std::map<std::uint64_t, Place> places;
  client.for_each_message(stream, std::max(durable, window_start) + 1, tail.seq - 1,
                          [&](const wire::StoredMessage& message) {
                            places[message.seq] = {wire::position_header(message), message.subject};
                          });
  Position next = tail.position;
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    const auto& [seq, here] = *place;
    if (!here.header) return ForeignMessage{seq, "a message on " + here.subject};
    const std::uint64_t ordinal = tail.ordinal - (tail.seq - seq);
    if (here.header->ordinal != ordinal || here.header->position >= next)
      return ForeignMessage{seq, "ordinal " + std::to_string(here.header->ordinal) + " at " +
                                     here.header->position.to_string() + " where ordinal " +
                                     std::to_string(ordinal) + " belongs"};
    if (!history.contains(here.header->position.timeline, here.header->position.commit_lsn))
      return ForeignMessage{seq, "ordinal " + std::to_string(ordinal) + " at " +
                                     here.header->position.to_string() +
                                     ", a commit that the promoted server never had"};
    if (std::ranges::find(epochs, here.header->epoch) == epochs.end())
      return ForeignMessage{seq, "ordinal " + std::to_string(ordinal) + " of epoch " +
                                     std::to_string(here.header->epoch) +
                                     ", which was never opened by this source"};
    next = here.header->position;
  }
  return std::nullopt;
}

}  // namespace postrider
