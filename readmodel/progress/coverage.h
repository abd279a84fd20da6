// Which of the relay's coverage notices the cursor has reached. Pure.
//
// A notice names an ordinal and an LSN: nothing follows that message up to there. It counts once
// everything up to that ordinal is applied. While events still come, later notices name later
// ordinals; so a few are kept, and the newest that is reached is taken.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>

#include "base/coverage_notice.h"
#include "readmodel/progress/cursor.h"

namespace postrider {

class Coverage {
 public:
  // A notice arrived. One that claims less than another before it is dropped.
  void on_notice(CoverageNotice notice);
  // The newest notice that the cursor has reached and that tells more than the last one taken.
  [[nodiscard]] std::optional<CoverageNotice> take_reached(const Cursor& cursor);
  // The newest LSN taken, and its timeline.
  [[nodiscard]] Lsn covered() const { return covered_; }
  [[nodiscard]] std::uint32_t covered_timeline() const { return timeline_; }

 private:
  static constexpr std::size_t kMost = 64;
  std::deque<CoverageNotice> waiting_;  // rising in LSN and ordinal
  Lsn covered_;
  std::uint32_t timeline_ = 0;
};

}  // namespace postrider
