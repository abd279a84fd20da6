// Random numbers that are the same everywhere: std's distributions differ between libraries.
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (SplitMix64).
#pragma once

#include <cstdint>

namespace postrider::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }
  // 0 to bound - 1; `bound` is not 0.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  // `low` to `high`, both inclusive.
  std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    return low + below(high - low + 1);
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

}  // namespace postrider::sim
