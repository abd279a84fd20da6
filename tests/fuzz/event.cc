// An event of anybody's making, encoded in every format: refused, or a legal message that says what
// the event says. Encoded twice it is the same bytes.
#include <array>
#include <nlohmann/json.hpp>

#include "base/jetstream/stream_info.h"
#include "relay/route/cloud_events.h"
#include "relay/route/encoder.h"
#include "relay/route/parts.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/message_rules.h"

namespace postrider::fuzz {
namespace {

std::optional<std::string> maybe(Input& in) {
  if (!in.flag()) return std::nullopt;
  return std::string(in.text());
}

OutboxEvent make_event(Input& in) {
  OutboxEvent event;
  if (in.flag()) event.id = in.text();
  event.from_template = in.flag();
  event.subject = in.text();
  event.key = maybe(in);
  event.type = maybe(in);
  event.content_type = maybe(in);
  if (in.flag()) event.headers = in.long_text();
  event.payload = in.rest();
  return event;
}

std::string value_of(const Message& message, std::string_view name) {
  std::string value;
  for (const auto& header : message.headers)
    if (header.first == name) value = header.second;
  return value;
}

void require_structured(const OutboxEvent& event, std::string_view body) {
  const auto json = nlohmann::json::parse(body);
  REQUIRE(json.at("specversion") == "1.0");
  REQUIRE(json.contains("data") != json.contains("data_base64"));
  // The payload stands in it byte for byte, or in base64.
  if (json.contains("data"))
    REQUIRE(body.find(event.payload) != std::string_view::npos);
  else
    REQUIRE(json.at("data_base64").get<std::string>().size() == (event.payload.size() + 2) / 3 * 4);
}

void require_encoded(const AssembledEvent& event, std::uint64_t ordinal) {
  Message message;
  const auto encoded = encode(event, ordinal, message);
  if (!encoded) {
    REQUIRE(encoded.error().kind == ErrorKind::kMalformedEvent);
    return;
  }
  require_legal(message);
  REQUIRE(message.subject == "shop." + event.event->subject);
  wire::StoredMessage stored;
  stored.headers = header_lines(message);
  const PositionHeader expected{ordinal, event.position, event.fingerprint, event.epoch->number,
                                event.last};
  REQUIRE(wire::position_header(stored) == expected);
  if (!event.event->id.empty() && value_of(message, "Content-Type") == kCloudEventsJson &&
      event.epoch->settings.format == EventFormat::kCloudEventsStructured)
    require_structured(*event.event, message.payload);
  else
    REQUIRE(message.payload == event.event->payload);
  Message again;
  REQUIRE(encode(event, ordinal, again).has_value());
  REQUIRE(again.subject == message.subject && again.headers == message.headers &&
          again.payload == message.payload);
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  using namespace postrider::fuzz;
  Input in({data, size});
  Epoch epoch;
  epoch.number = 1;
  epoch.settings.source = "shop";
  epoch.settings.message_id = in.flag();
  const auto time = static_cast<std::int64_t>(in.u64());
  const std::uint64_t ordinal = in.u16();
  const bool last = in.flag();
  const OutboxEvent event = make_event(in);
  for (const auto format : {EventFormat::kPlain, EventFormat::kCloudEventsStructured,
                            EventFormat::kCloudEventsBinary}) {
    epoch.settings.format = format;
    const AssembledEvent assembled{{1, Lsn{7}, 0, std::nullopt}, {1, time}, &epoch, last, &event};
    require_encoded(assembled, ordinal);
  }
  return 0;
}
