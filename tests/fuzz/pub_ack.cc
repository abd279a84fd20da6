// The answer to a publish. Held against a JSON parser that knows nothing of our short cut: only an
// object with a sequence, without error and without `duplicate`, is an acknowledgement.
#include "relay/wire/pub_ack.h"

#include <nlohmann/json.hpp>

#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  using Outcome = wire::PubAck::Outcome;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto ack = wire::parse_pub_ack(text);
  REQUIRE((ack.outcome != Outcome::kStored && ack.outcome != Outcome::kDuplicate) || ack.seq != 0 ||
          ack.outcome == Outcome::kDuplicate);
  REQUIRE((ack.outcome == Outcome::kWrongSequence) ==
          (ack.err_code == wire::kErrWrongLastSequence));

  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    // The short cut does not look into a stream's name.
    REQUIRE(ack.outcome == Outcome::kUnreadable || text.starts_with("{\"stream\":\""));
    return 0;
  }
  const auto error = json.find("error");
  const bool refused = error != json.end() && error->is_object();
  REQUIRE(refused == (ack.outcome == Outcome::kRefused || ack.outcome == Outcome::kWrongSequence));
  const auto duplicate = json.find("duplicate");
  if (!refused && duplicate != json.end() && *duplicate != false)
    REQUIRE(ack.outcome == Outcome::kDuplicate);
  if (ack.outcome == Outcome::kStored) REQUIRE(json.at("seq").get<std::uint64_t>() == ack.seq);
  if (refused && error->contains("code") && error->at("code").is_number_unsigned() && ack.code != 0)
    REQUIRE(error->at("code").get<std::uint64_t>() == static_cast<std::uint64_t>(ack.code));
  return 0;
}
