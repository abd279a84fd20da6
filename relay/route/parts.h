// The rule by which a large row becomes several messages: each part_bytes of its payload, counted
// from its beginning, is a part; the last one holds the rest. A function of event and epoch alone,
// never of what a broker allows at the moment, so that whoever publishes an ordinal publishes the
// same message. Events that a service wrote are never split. A tombstone follows behind the last
// part, as a message without payload. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "relay/transaction/assembler.h"

namespace postrider {

// What a message may need beside its part: subject, headers, the relay's fence.
inline constexpr std::size_t kPartHeadroom = 16UL * 1024;
inline constexpr std::size_t kMostParts = 0x10000;  // four hexadecimal digits of a position

// Parts of the event's payload; 1: it is not split. kTooLarge beyond kMostParts.
[[nodiscard]] Result<std::uint32_t> part_count(const AssembledEvent& event);

// Messages that the event needs, its tombstone included.
[[nodiscard]] inline std::uint32_t message_count(const AssembledEvent& event, std::uint32_t parts) {
  return parts + (event.event->tombstone ? 1 : 0);
}

// Message `number` of an event of so many parts: its position, and `last` on the last message
// alone. Keeps the event's pointers.
[[nodiscard]] AssembledEvent message_of(const AssembledEvent& event, std::uint32_t number,
                                        std::uint32_t parts);

// What a part, as message_of() made it, holds of the event's payload.
[[nodiscard]] std::string_view payload_of(const AssembledEvent& part);

// kTooLarge when messages of up to `most` bytes cannot hold a part. 0: nothing is split.
[[nodiscard]] Result<void> require_room_for_parts(std::size_t part_bytes, std::size_t most,
                                                  std::string_view limit);

}  // namespace postrider
