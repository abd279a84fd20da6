#include "relay/backfill/pace.h"

#include <algorithm>
#include <cmath>

namespace postrider {

void BackfillPace::on_carried(std::uint64_t rows, std::uint64_t bytes, Duration took, Time now) {
  if (rows_per_second_) {
    const auto worth = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
        static_cast<double>(rows) / static_cast<double>(*rows_per_second_)));
    // What was left unused is not saved up for a burst.
    next_ = std::max(next_, now - took) + worth;
  }
  if (rows == 0) return;
  const double by_time =
      std::chrono::duration<double>(kTarget) /
      std::max(std::chrono::duration<double>(took), std::chrono::duration<double>(1e-4));
  const double by_bytes =
      static_cast<double>(kTargetBytes) / static_cast<double>(std::max<std::uint64_t>(bytes, 1));
  // Of what was carried: the last chunk may have been a short one.
  const double wanted = static_cast<double>(rows) * std::min(by_time, by_bytes);
  const auto most = std::min(kMost, rows_ * 2);
  rows_ = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(std::min(wanted, 1e9)), 1, most);
  // A second's worth at most, so that a slow rate is no sequence of bursts.
  if (rows_per_second_) rows_ = std::min(rows_, std::max<std::uint64_t>(*rows_per_second_ / 4, 1));
}

void BackfillPace::on_busy() {
  rows_ = std::max<std::uint64_t>(rows_ / 2, 1);
}

}  // namespace postrider
