// Answers of the JetStream API: stream info, stored messages with their headers, errors. They are
// read or refused; what is read is what a JSON parser finds, and memory is bounded.
#include <nlohmann/json.hpp>

#include "base/jetstream/stream_info.h"
#include "readmodel/jetstream/ack_subject.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

void require_stored(std::string_view text) {
  const auto stored = wire::parse_stored_message(text);
  if (!stored) return;
  const auto json = nlohmann::json::parse(text);
  REQUIRE(json.at("message").at("seq").get<std::uint64_t>() == stored->seq);
  // base64: four letters for three bytes.
  REQUIRE(stored->data.size() <= text.size() * 3 / 4);
  if (const auto header = wire::position_header(*stored)) {
    const auto value = wire::find_header(stored->headers, kPositionHeader);
    REQUIRE(value.has_value() && header->to_string() == *value);
  }
}

void require_info(std::string_view text) {
  const auto info = wire::parse_stream_info(text);
  if (!info) {
    REQUIRE(info.error().kind == ErrorKind::kBrokerUnavailable);
    return;
  }
  const auto json = nlohmann::json::parse(text);
  REQUIRE(json.at("state").at("last_seq").get<std::uint64_t>() == info->last_seq);
  const auto problems = wire::review_settings(*info, "shop.>");
  if (info->subjects != std::vector<std::string>{"shop.>"} || info->storage != "file" ||
      info->retention != "limits" || info->discard != "new" || info->no_ack)
    REQUIRE(!problems.empty() && problems.front().fatal);
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  using namespace postrider::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const MemoryBound bound(size, 4096, 65536);
  const auto error = wire::find_api_error(text);
  REQUIRE(error.has_value() || text.find('{') != std::string_view::npos);
  require_info(text);
  require_stored(text);
  for (const auto* name : {"Postrider-Position", "nats-msg-id", "a"})
    if (const auto value = wire::find_header(text, name)) {
      REQUIRE(within(*value, text));
      REQUIRE(value->find("\r\n") == std::string_view::npos);
    }
  if (const auto seq = stream_sequence(text)) REQUIRE(*seq != 0);
  return 0;
}
