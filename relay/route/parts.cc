#include "relay/route/parts.h"

#include <string>

namespace postrider {

Result<std::uint32_t> part_count(const AssembledEvent& event) {
  const std::size_t part_bytes = event.epoch->settings.part_bytes;
  const std::size_t bytes = event.event->payload.size();
  if (part_bytes == 0 || !event.event->id.empty() || bytes <= part_bytes) return 1;
  const std::size_t count = (bytes - 1) / part_bytes + 1;
  if (count > kMostParts)
    return fail(ErrorKind::kTooLarge,
                "the row change at " + event.position.to_string() + " has " +
                    std::to_string(bytes) + " bytes, more than " + std::to_string(kMostParts) +
                    " parts of relay.part_bytes = " + std::to_string(part_bytes),
                "leave its large columns out of the capture ([[capture]] exclude): "
                "docs/operating.md, \"too large\"");
  return static_cast<std::uint32_t>(count);
}

AssembledEvent message_of(const AssembledEvent& event, std::uint32_t number, std::uint32_t parts) {
  AssembledEvent message = event;
  message.tombstone = number == parts;
  if (parts > 1 || message.tombstone) message.position.part = static_cast<std::uint16_t>(number);
  message.last = event.last && number + 1 == message_count(event, parts);
  return message;
}

std::string_view payload_of(const AssembledEvent& part) {
  const std::size_t part_bytes = part.epoch->settings.part_bytes;
  return std::string_view(part.event->payload)
      .substr(std::size_t{*part.position.part} * part_bytes, part_bytes);
}

Result<void> require_room_for_parts(std::size_t part_bytes, std::size_t most,
                                    std::string_view limit) {
  if (part_bytes == 0 || part_bytes + kPartHeadroom <= most) return {};
  const std::string needed = std::to_string(part_bytes + kPartHeadroom);
  return fail(ErrorKind::kTooLarge,
              "relay.part_bytes is " + std::to_string(part_bytes) + ": with headers a part needs " +
                  needed + " bytes, and " + std::string(limit) + " is " + std::to_string(most),
              "raise " + std::string(limit) + " to at least " + needed +
                  ", or lower relay.part_bytes, which opens an epoch");
}

}  // namespace postrider
