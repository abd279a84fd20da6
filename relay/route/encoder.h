// From an event and its place to the message that goes to the broker. Pure, and deterministic: the
// bytes are a function of event, place and epoch, so that whoever publishes an ordinal publishes
// the same message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "relay/transaction/assembler.h"

namespace postrider {

struct Message {
  std::string subject;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string_view payload;  // of the event it was encoded from, or `body`
  std::string body;          // what a format makes of the payload; its memory is reused

  Message() = default;
  // A copy's payload would be a view of the original.
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  // Bytes on the wire, roughly: what the publish window counts.
  [[nodiscard]] std::size_t size() const;
};

// Fills `message`, reusing its memory; of an event with a part in its position, that part
// (relay/route/parts.h). kMalformedEvent for an event that emit would have refused: a
// subject or header that could inject protocol, or a reserved header.
[[nodiscard]] Result<void> encode(const AssembledEvent& event, std::uint64_t ordinal,
                                  Message& message);

}  // namespace postrider
