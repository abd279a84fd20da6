#include "tests/faults/power/schedule.h"

#include <random>
#include <stdexcept>

namespace postrider::test {
namespace {

constexpr std::pair<Cut, const char*> kNames[] = {
    {Cut::kBroker, "broker"},       {Cut::kWithRelay, "with-relay"},   {Cut::kSynced, "synced"},
    {Cut::kConfirmed, "confirmed"}, {Cut::kIdleBroker, "idle-broker"}, {Cut::kSource, "source"},
    {Cut::kHost, "host"},
};

}  // namespace

const char* name_of(Cut cut) {
  for (const auto& [value, name] : kNames)
    if (value == cut) return name;
  return "?";
}

Cut cut_named(const std::string& name) {
  for (const auto& [value, known] : kNames)
    if (known == name) return value;
  throw std::invalid_argument("no such cut: " + name);
}

std::vector<Round> schedule(std::uint64_t seed, const std::vector<Cut>& cuts, std::size_t rounds,
                            std::uint64_t events) {
  std::mt19937_64 random(seed);
  std::vector<Round> result;
  for (std::size_t i = 0; i < rounds; ++i) {
    Round round;
    const auto any = random();
    round.cut = cuts[i < cuts.size() ? i : any % cuts.size()];
    round.events = events / 2 + random() % (events + 1);
    round.synchronous = random() % 2 == 0;
    round.restart_with_kill = random() % 2 == 0;
    round.after_sync = std::chrono::milliseconds{1'000 + random() % 10'000};
    result.push_back(round);
  }
  return result;
}

}  // namespace postrider::test
