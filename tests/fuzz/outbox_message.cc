// The content of a logical message of the `wal` store, and bytea text. What emit writes is read as
// it was written; anything else is refused; nothing points outside the content.
#include "relay/wire/outbox_message.h"

#include <optional>
#include <string>

#include "relay/wire/bytea.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

using Field = std::optional<std::string_view>;

void append_field(std::string& out, const Field& field) {
  const auto length = field ? static_cast<std::uint32_t>(field->size()) : ~0U;
  for (unsigned shift = 32; shift > 0; shift -= 8)
    out += static_cast<char>(length >> (shift - 8) & 0xFFU);
  out += field.value_or("");
}

void require_whatever(std::string_view text) {
  const MemoryBound bound(text.size(), 8, 4096);
  const auto message = wire::decode_outbox_message(wire::as_bytes(text));
  if (!message) {
    REQUIRE(message.error().kind == ErrorKind::kMalformedEvent);
    return;
  }
  REQUIRE(message->id.size() == 16 && text.front() == 1);
  for (const Field& field : {Field(message->subject), message->key, message->type,
                             message->content_type, message->headers, Field(message->payload)})
    REQUIRE(within(field.value_or(""), text));
  std::string uuid;
  wire::append_uuid(uuid, message->id);
  REQUIRE(uuid.size() == 36);
}

void require_round_trip(Input in) {
  std::string content = "\x01";
  for (int i = 0; i < 16; ++i) content += static_cast<char>(in.u8());
  const auto maybe = [&]() -> Field {
    if (!in.flag()) return std::nullopt;
    return in.text();
  };
  const Field subject = in.text();
  const Field key = maybe();
  const Field type = maybe();
  const Field content_type = maybe();
  const Field headers = maybe();
  for (const auto& field : {subject, key, type, content_type, headers})
    append_field(content, field);
  const auto payload = in.rest();
  content += payload;
  const auto message = wire::decode_outbox_message(wire::as_bytes(content));
  REQUIRE(message.has_value() && message->subject == *subject && message->key == key);
  REQUIRE(message->type == type && message->content_type == content_type);
  REQUIRE(message->headers == headers && message->payload == payload);
}

void require_bytea(std::string_view bytes) {
  std::string out;
  if (wire::decode_bytea(bytes, out)) REQUIRE(out.size() * 2 + 2 == bytes.size());
  std::string hex = "\\x";
  for (const char c : bytes) {
    constexpr std::string_view kHex = "0123456789abcdef";
    hex += kHex[static_cast<unsigned char>(c) >> 4U];
    hex += kHex[static_cast<unsigned char>(c) & 0xFU];
  }
  REQUIRE(wire::decode_bytea(hex, out) && out == bytes);
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  require_whatever(text);
  require_round_trip(Input({data, size}));
  require_bytea(text);
  return 0;
}
