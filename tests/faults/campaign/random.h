// Random numbers of the campaign: the same from a seed on every machine and with every standard
// library. Seeds for the parts of a run are derived by name, so that one part's choices do not
// depend on how many numbers another one took.
#pragma once

#include <cstdint>
#include <string_view>

namespace postrider::campaign {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  // SplitMix64, by Sebastiano Vigna, in the public domain.
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  // 0 <= result < bound; bound > 0.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  // first <= result <= last.
  std::uint64_t between(std::uint64_t first, std::uint64_t last) {
    return first + below(last - first + 1);
  }
  bool percent(unsigned chance) { return below(100) < chance; }

 private:
  std::uint64_t state_;
};

// The seed of a part: "workload", "schedule", "round 3".
inline std::uint64_t derive(std::uint64_t seed, std::string_view part) {
  for (const char c : part) seed = Random(seed ^ static_cast<unsigned char>(c)).next();
  return seed;
}

}  // namespace postrider::campaign
