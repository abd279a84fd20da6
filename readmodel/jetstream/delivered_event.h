// What a pull consumer delivers, taken apart: a message of the stream, or the status that ends a
// request. Pure. Source: NATS ADR-4, "NATS Message Headers"; ADR-13, "Pull Subscribe internals";
// nats-server, consumer.go.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/nats/protocol.h"
#include "postrider/received_event.h"

namespace postrider {

// Views into the delivery.
struct PullStatus {
  std::string_view code;  // "408"
  std::string_view text;  // "Request Timeout"; without a code, what the server says instead
  // Of the request, so many messages that it has not brought and will not.
  std::optional<std::uint64_t> pending;
};
// Of a delivery on the reply subject of a request.
[[nodiscard]] PullStatus pull_status(const nats::Delivery& delivery);

enum class RequestEnd {
  kDone,      // it brings no more, and the next one may
  kTooSmall,  // the next message is larger than what is left of the request's bytes
  kGone,      // there is no consumer any more
  kRefused,   // and the next one would be refused as well
};
[[nodiscard]] RequestEnd end_of_request(const PullStatus& status);

// Whose messages a stream may hold.
struct ExpectedMessages {
  std::string stream;
  std::string subject_prefix;  // "shop."
  // Foreign ones become events with ordinal 0, sequence and subject.
  bool keep_foreign = false;
};
// The event that a message carries, or the part of a large row. kForeignMessage where it is not of
// the expected ones, kBrokerUnavailable where its reply subject names no sequence.
[[nodiscard]] Result<ReceivedEvent> read_event(const nats::Delivery& delivery,
                                               const ExpectedMessages& expected);

}  // namespace postrider
