// The content of a logical message that outbox.emit writes into the `wal` store. Pure.
//
//   content:  version:u8=1 id:16 bytes, subject key type content_type headers : field, payload: the
//   rest field:    length:i32 bytes          length -1 is null; text is UTF-8
//
// `headers` is the text of a JSON object of strings, or null. Written by migrations/service.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "relay/wire/byte_reader.h"

namespace postrider::wire {

// Prefix of the messages that are ours.
inline constexpr std::string_view kOutboxMessagePrefix = "postrider";

struct OutboxMessage {
  Bytes id;  // 16 bytes
  std::string_view subject;
  std::optional<std::string_view> key;
  std::optional<std::string_view> type;
  std::optional<std::string_view> content_type;
  std::optional<std::string_view> headers;
  std::string_view payload;
};

// Views point into `content`. kMalformedEvent for anything else.
[[nodiscard]] Result<OutboxMessage> decode_outbox_message(Bytes content);

// The usual text form of a UUID: 36 lower-case characters. Needs exactly 16 bytes.
void append_uuid(std::string& out, Bytes id);

}  // namespace postrider::wire
