#include "relay/backfill/pace.h"

#include <algorithm>

namespace postrider {

void BackfillPace::on_carried(std::uint64_t rows, std::uint64_t bytes, Duration took, Time now) {
  if (rows_per_second_) {
    const auto worth = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
        static_cast<double>(rows) / static_cast<double>(*rows_per_second_)));
    // What was left unused is not saved up for a burst.
    next_ = std::max(next_, now - took) + worth;
  }
  if (bytes > 2 * kTargetBytes)
    rows_ = std::max<std::uint64_t>(rows_ / 2, 1);
  else if (took > 2 * kTarget)
    rows_ = std::max(rows_ / 2, std::min(rows_, kFloor));
  else if (took < kTarget / 2 && bytes < kTargetBytes / 2)
    rows_ = std::min(rows_ * 2, kMost);
  // A second's worth at most, so that a slow rate is no sequence of bursts.
  if (rows_per_second_) rows_ = std::min(rows_, std::max<std::uint64_t>(*rows_per_second_ / 4, 1));
}

void BackfillPace::on_busy() {
  rows_ = std::max<std::uint64_t>(rows_ / 2, 1);
}

}  // namespace postrider
