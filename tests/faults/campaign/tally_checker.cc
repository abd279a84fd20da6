#include "tests/faults/campaign/tally_checker.h"

#include "tests/faults/campaign/history.h"
#include "tests/faults/campaign/stream_checker.h"

namespace postrider::campaign {
namespace {

constexpr std::size_t kKept = 10;

std::string text_of(const Tally& tally) {
  return std::to_string(tally.events) + " events, chain " + std::to_string(tally.chain) + ", " +
         std::to_string(tally.cents) + " cents";
}

}  // namespace

void TallyChecker::see(const test::StreamMessage& message) {
  constexpr long kFactor = 1000003;
  constexpr long kModulus = 2147483647;
  constexpr long kOrdinals = 268435456;
  const auto id = message.header("Postrider-Id");
  const auto key = message.header("Postrider-Key");
  const auto header = parse_header(message.header("Postrider-Position").value_or(""));
  auto& tally = expected_[id ? key.value_or("-") : message.subject + " " + key.value_or("")];
  ++tally.events;
  const long step = id ? std::stol(id->substr(0, 7), nullptr, 16)
                       : static_cast<long>(header ? header->ordinal : 0) % kOrdinals;
  tally.chain = (tally.chain * kFactor + step) % kModulus;
  Payload payload;
  if (id && parse_payload(message.data, payload)) tally.cents += payload.cents;
}

std::vector<std::string> differences(const std::map<std::string, Tally>& expected,
                                     const std::map<std::string, Tally>& found) {
  std::vector<std::string> problems;
  const auto note = [&problems](const std::string& text) {
    if (problems.size() < kKept) problems.push_back("tally: " + text);
  };
  for (const auto& [key, tally] : expected) {
    const auto other = found.find(key);
    if (other == found.end())
      note("key " + key + " is missing");
    else if (other->second != tally)
      note("key " + key + " has " + text_of(other->second) + " instead of " + text_of(tally));
  }
  for (const auto& [key, tally] : found)
    if (!expected.contains(key)) note("key " + key + " is in no event");
  return problems;
}

}  // namespace postrider::campaign
