// An event as a read model receives it from the stream. Plain values; owned by whoever holds it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postrider/position.h"

namespace postrider {

struct ReceivedEvent {
  std::uint64_t seq = 0;  // stream sequence
  PositionHeader place;   // ordinal, position, commit time, epoch, whether last of its transaction
  std::string subject;    // NATS subject, beginning with the source's name
  std::optional<std::string> key;
  std::optional<std::string> type;
  std::string id;                                            // Postrider-Id: what emit returned
  std::string content_type;                                  // empty when the message has none
  std::vector<std::pair<std::string, std::string>> headers;  // the service's own
  std::string payload;
  // Messages that a large row came in, here already one event: its place is the first one's, without
  // the part, and `last` the last one's.
  std::uint32_t parts = 1;
  std::optional<OrdinalRange> hole = std::nullopt;  // ordinals that a repair left out before it

  // Bytes that it takes, about.
  [[nodiscard]] std::size_t size() const;
};

}  // namespace postrider
