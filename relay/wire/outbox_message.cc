#include "relay/wire/outbox_message.h"

#include <string>

namespace postrider::wire {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kUuidSize = 16;

std::optional<std::string_view> read_field(ByteReader& in) {
  const std::int32_t length = in.i32();
  if (length == -1) return std::nullopt;
  if (length < 0) {
    in.fail();
    return std::nullopt;
  }
  return as_text(in.bytes(static_cast<std::size_t>(length)));
}

}  // namespace

Result<OutboxMessage> decode_outbox_message(Bytes content) {
  ByteReader in(content);
  if (in.u8() != kVersion) in.fail();
  OutboxMessage message;
  message.id = in.bytes(kUuidSize);
  const auto subject = read_field(in);
  message.key = read_field(in);
  message.type = read_field(in);
  message.content_type = read_field(in);
  message.headers = read_field(in);
  message.payload = as_text(in.tail());
  if (!in.ok() || !subject)
    return fail(ErrorKind::kMalformedEvent,
                "a logical message with prefix '" + std::string(kOutboxMessagePrefix) + "' and " +
                    std::to_string(content.size()) + " bytes was not written by outbox.emit",
                "only outbox.emit may write this prefix: revoke EXECUTE on pg_logical_emit_message "
                "from PUBLIC (see `postrider check`)");
  message.subject = *subject;
  return message;
}

void append_uuid(std::string& out, Bytes id) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (std::size_t i = 0; i < id.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    const auto byte = std::to_integer<unsigned>(id[i]);
    out += kHex[byte >> 4U];
    out += kHex[byte & 0xFU];
  }
}

}  // namespace postrider::wire
