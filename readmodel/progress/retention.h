// Whether a stream that is kept by age will soon remove what a read model needs next. Pure: an
// alarm by the source's clock and ours, nothing is decided by it.
#pragma once

#include <chrono>
#include <cstdint>

namespace postrider {

// `commit_time_us` is of the event needed next, `now_us` the wall clock. True once the event has
// spent `fraction` of the stream's `max_age`. A max_age of 0 keeps for ever.
[[nodiscard]] inline bool nears_removal(std::int64_t commit_time_us, std::int64_t now_us,
                                        std::chrono::nanoseconds max_age, double fraction) {
  constexpr double kNanoseconds = 1000;  // in a microsecond
  if (max_age.count() <= 0) return false;
  return static_cast<double>(now_us - commit_time_us) * kNanoseconds >
         fraction * static_cast<double>(max_age.count());
}

}  // namespace postrider
