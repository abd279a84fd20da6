#include "readmodel/jetstream/delivered_event.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

#include "base/nats/headers.h"
#include "readmodel/jetstream/ack_subject.h"

namespace postrider {
namespace {

constexpr std::string_view kVersion = "NATS/1.0";
constexpr std::size_t kMostSaid = 200;

bool is_own_header(std::string_view name) {
  return !name.starts_with("Nats-") && !name.starts_with("Postrider-");
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// 0, which no row has, for what is no number of parts.
std::uint32_t parts_of(std::string_view text) {
  const auto number = number_of(text).value_or(0);
  return number > std::numeric_limits<std::uint32_t>::max() ? 0
                                                            : static_cast<std::uint32_t>(number);
}

Error foreign(const ExpectedMessages& expected, const ReceivedEvent& event) {
  return {ErrorKind::kForeignMessage,
          "stream \"" + expected.stream + "\" sequence " + std::to_string(event.seq) + " on " +
              event.subject + " is not a message of this source's relay",
          "somebody else published into the stream: see docs/operating.md, \"foreign message\""};
}

}  // namespace

PullStatus pull_status(const nats::Delivery& delivery) {
  std::string_view rest = delivery.headers;
  std::string_view line = nats::take_header_line(rest);
  if (!line.starts_with(kVersion)) return {{}, delivery.payload.substr(0, kMostSaid), {}};
  line = nats::trimmed(line.substr(kVersion.size()));
  const auto blank = std::min(line.find(' '), line.size());
  PullStatus status{line.substr(0, blank), nats::trimmed(line.substr(blank)), {}};
  nats::for_each_header(delivery.headers, [&](std::string_view name, std::string_view value) {
    if (name == "Nats-Pending-Messages") status.pending = number_of(nats::trimmed(value));
  });
  return status;
}

RequestEnd end_of_request(const PullStatus& status) {
  const auto says = [&](std::string_view text) {
    return status.text.find(text) != std::string_view::npos;
  };
  if (status.code == "404" || status.code == "408") return RequestEnd::kDone;
  if (status.code == "503") return RequestEnd::kGone;
  if (status.code != "409") return RequestEnd::kRefused;
  if (says("Message Size Exceeds MaxBytes")) return RequestEnd::kTooSmall;
  if (says("Batch Completed") || says("Leadership Change")) return RequestEnd::kDone;
  // Ours lives in the memory of one server. Without requests, it is what one says that stops.
  for (const auto* text : {"Consumer Deleted", "Server Shutdown", "Consumer is push based"})
    if (says(text)) return RequestEnd::kGone;
  return RequestEnd::kRefused;
}

Result<ReceivedEvent> read_event(const nats::Delivery& delivery, const ExpectedMessages& expected) {
  ReceivedEvent event;
  const auto seq = stream_sequence(delivery.reply);
  if (!seq)
    return fail(ErrorKind::kBrokerUnavailable,
                "a message without a sequence: " + std::string(delivery.reply));
  event.seq = *seq;
  event.subject = delivery.subject;
  std::string_view place;
  bool has_parts = false;
  nats::for_each_header(delivery.headers, [&](std::string_view name, std::string_view value) {
    value = nats::trimmed(value);
    if (name == kPositionHeader) {
      if (place.empty()) place = value;
    } else if (name == "Postrider-Key") {
      if (!event.key) event.key.emplace(value);
    } else if (name == "Postrider-Type") {
      if (!event.type) event.type.emplace(value);
    } else if (name == "Postrider-Id") {
      if (event.id.empty()) event.id = value;
    } else if (name == kHoleHeader) {
      if (!event.hole) event.hole = OrdinalRange::parse(value);
    } else if (name == kPartsHeader) {
      if (!std::exchange(has_parts, true)) event.parts = parts_of(value);
    } else if (name == "Content-Type") {
      if (event.content_type.empty()) event.content_type = value;
    } else if (is_own_header(name)) {
      event.headers.emplace_back(name, value);
    }
  });
  const auto parsed = PositionHeader::parse(place);
  if (!parsed || !delivery.subject.starts_with(expected.subject_prefix)) {
    if (!expected.keep_foreign) return tl::unexpected(foreign(expected, event));
    ReceivedEvent nothing;
    nothing.seq = event.seq;
    nothing.subject = std::move(event.subject);
    return nothing;
  }
  event.place = *parsed;
  event.payload = delivery.payload;
  // One value of a name is all that emit takes: the first counts, as for other readers.
  const auto by_name = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::stable_sort(event.headers.begin(), event.headers.end(), by_name);
  const auto repeated =
      std::unique(event.headers.begin(), event.headers.end(),
                  [](const auto& a, const auto& b) { return a.first == b.first; });
  event.headers.erase(repeated, event.headers.end());
  return event;
}

}  // namespace postrider
