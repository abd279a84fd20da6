#include "readmodel/progress/barrier.h"

#include <algorithm>
#include <tuple>

namespace postrider {

bool admits(const std::optional<Barrier>& barrier, const Position& commit) {
  return !barrier ||
         std::tie(commit.timeline, commit.commit_lsn) < std::tie(barrier->timeline, barrier->lsn);
}

std::size_t admitted(const std::optional<Barrier>& barrier, const std::deque<Cursor>& ends) {
  const auto first_held = std::ranges::find_if_not(
      ends, [&](const Cursor& end) { return admits(barrier, end.position); });
  return static_cast<std::size_t>(first_held - ends.begin());
}

bool is_reached(const Barrier& barrier, const std::optional<Position>& next,
                std::uint32_t covered_timeline, Lsn covered) {
  if (barrier.lsn.is_none()) return false;
  if (next && !admits(barrier, *next)) return true;
  return std::tie(covered_timeline, covered) >= std::tie(barrier.timeline, barrier.lsn);
}

}  // namespace postrider
