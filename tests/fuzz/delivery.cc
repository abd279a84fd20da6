// What a pull consumer delivers, of anybody's making: an event, or the status that ends a request.
#include <set>
#include <string>

#include "base/nats/headers.h"
#include "postrider/position.h"
#include "readmodel/jetstream/ack_subject.h"
#include "readmodel/jetstream/delivered_event.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

const ExpectedMessages kStrict{"SHOP", "shop.", false};
const ExpectedMessages kTolerant{"SHOP", "shop.", true};

void require_headers(const ReceivedEvent& event, std::string_view block) {
  std::set<std::string> names;
  for (const auto& [name, value] : event.headers) {
    REQUIRE(names.insert(name).second);
    REQUIRE(!name.starts_with("Nats-") && !name.starts_with("Postrider-"));
    REQUIRE(name.find(':') == std::string::npos);
    // Nothing is made up, and what one line says stays in it.
    REQUIRE(block.find("\r\n" + name + ":") != std::string_view::npos);
    REQUIRE(block.find(value) != std::string_view::npos);
    REQUIRE(value.find("\r\n") == std::string::npos);
    REQUIRE(nats::trimmed(value) == value);
  }
}

void require_event(const nats::Delivery& delivery) {
  const auto seq = stream_sequence(delivery.reply);
  const auto strict = read_event(delivery, kStrict);
  const auto tolerant = read_event(delivery, kTolerant);
  REQUIRE(tolerant.has_value() == seq.has_value());
  if (!seq) {
    REQUIRE(!strict && strict.error().kind == ErrorKind::kBrokerUnavailable);
    return;
  }
  REQUIRE(tolerant->seq == *seq && tolerant->subject == delivery.subject);
  const bool is_foreign = tolerant->place.ordinal == 0;
  REQUIRE(is_foreign == !strict);
  if (is_foreign) {
    REQUIRE(strict.error().kind == ErrorKind::kForeignMessage);
    REQUIRE(tolerant->payload.empty() && tolerant->headers.empty());
    return;
  }
  REQUIRE(strict->place == tolerant->place && strict->headers == tolerant->headers);
  REQUIRE(delivery.subject.starts_with(kStrict.subject_prefix));
  REQUIRE(delivery.headers.find(kPositionHeader) != std::string_view::npos);
  REQUIRE(strict->payload == delivery.payload);
  require_headers(*strict, delivery.headers);
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  using namespace postrider::fuzz;
  Input input({data, size});
  const auto subject = input.text();
  const auto reply = input.text();
  const auto headers = input.long_text();
  const nats::Delivery delivery{subject, "1", reply, headers, input.rest()};
  {
    const MemoryBound bound(size, 64, 16384);
    require_event(delivery);
  }
  const auto status = pull_status(delivery);
  REQUIRE(within(status.code, headers));
  REQUIRE(within(status.text, headers) || within(status.text, delivery.payload));
  REQUIRE(status.code.find("\r\n") == std::string_view::npos);
  // Whoever waits for more must have been told that there may be some.
  if (end_of_request(status) == RequestEnd::kDone)
    REQUIRE(status.code == "404" || status.code == "408" || status.code == "409");
  return 0;
}
