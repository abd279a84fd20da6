// CloudEvents 1.0: an outbox event as one JSON object, or as ce- headers beside its payload. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "relay/transaction/assembler.h"

namespace postrider {

// What the message of a structured event is. Without a charset: JSON is UTF-8, and readers compare
// the end of the type with "+json".
inline constexpr std::string_view kCloudEventsJson = "application/cloudevents+json";

using Headers = std::vector<std::pair<std::string, std::string>>;

// RFC 3339, UTC, microseconds. Nothing outside of the years 0 to 9999, which RFC 3339 cannot write:
// the attribute is optional, and a reader would refuse the whole event for a bad one.
[[nodiscard]] std::optional<std::string> rfc3339(std::int64_t unix_us);

// Printable ASCII without space, double quote and percent stays; all other bytes become %XX.
[[nodiscard]] std::string percent_encode(std::string_view text);

// Writes the JSON object over `body`, reusing its memory. `headers` are the event's own, checked.
void write_structured(const AssembledEvent& event, const Headers& headers, std::string& body);

// The event's payload, byte for byte, out of what write_structured() made of the event with that id
// for the relay of `source`; nothing for any other text, also for a CloudEvents object that a
// service has sent as its payload.
[[nodiscard]] std::optional<std::string> structured_payload(std::string_view body,
                                                            std::string_view id,
                                                            std::string_view source);

// Appends the ce- headers to the event's own.
void append_binary(const AssembledEvent& event, Headers& headers);

}  // namespace postrider
