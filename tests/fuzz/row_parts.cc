// A large row in parts. The relay's parts, joined by the read model's rule, are the row; messages
// in any other order or number are refused and never make up another row.
#include "readmodel/progress/row_parts.h"

#include "relay/route/parts.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

ReceivedEvent received(const AssembledEvent& message, std::uint32_t parts) {
  ReceivedEvent event;
  event.place.position = message.position;
  event.place.last = message.last;
  event.parts = message.tombstone ? 1 : parts;
  if (!message.tombstone)
    event.payload = message.position.part ? payload_of(message) : message.event->payload;
  return event;
}

void require_whole(Input in) {
  OutboxEvent event;
  event.tombstone = in.flag();
  Epoch epoch;
  epoch.settings.part_bytes = 1 + in.u8();
  const bool last = in.flag();
  event.payload = in.rest();
  const AssembledEvent whole{{1, Lsn{7}, 3, std::nullopt}, {}, &epoch, last, &event};
  const auto parts = part_count(whole);
  REQUIRE(parts.has_value());
  RowParts rows;
  const auto count = message_count(whole, *parts);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto message = message_of(whole, i, *parts);
    REQUIRE(message.last == (last && i + 1 == count));
    const auto joined = rows.add(received(message, *parts));
    REQUIRE(joined.has_value() && joined->has_value() == (i + 1 >= *parts));
    if (i + 1 != *parts) continue;
    REQUIRE((*joined)->payload == event.payload && !(*joined)->place.position.part);
    REQUIRE((*joined)->place.last == (last && !event.tombstone));
  }
}

void require_any_order(Input in) {
  RowParts rows;
  std::uint32_t pending = 0;  // parts taken of the row at hand
  while (!in.empty()) {
    ReceivedEvent message;
    message.place.position = {1, Lsn{in.below(3)}, static_cast<std::uint32_t>(in.below(3)), {}};
    if (in.flag()) message.place.position.part = static_cast<std::uint16_t>(in.below(4));
    message.parts = static_cast<std::uint32_t>(1 + in.below(4));
    message.payload = "x";
    const auto parts = message.parts;
    const auto part = message.place.position.part;
    const auto joined = rows.add(std::move(message));
    if (!joined) {
      REQUIRE(joined.error().kind == ErrorKind::kTornTransaction);
      return;
    }
    if (parts == 1) {
      REQUIRE(pending == 0 && joined->has_value());
      continue;
    }
    REQUIRE(part && *part == pending);
    ++pending;
    REQUIRE(joined->has_value() == (pending == parts));
    if (!joined->has_value()) continue;
    REQUIRE((*joined)->payload.size() == parts);
    pending = 0;
  }
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  require_whole(Input({data, size}));
  require_any_order(Input({data, size}));
  return 0;
}
