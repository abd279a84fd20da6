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
  // Looked at before a commit and taken after it: a refused one must not use it up.
  [[nodiscard]] std::optional<CoverageNotice> reached(const Cursor& cursor) const;
  std::optional<CoverageNotice> take_reached(const Cursor& cursor);
  // The newest LSN taken, and its timeline.
  [[nodiscard]] Lsn covered() const { return covered_; }
  [[nodiscard]] std::uint32_t covered_timeline() const { return timeline_; }

 private:
  static constexpr std::size_t kMost = 64;
  // How many from the front the cursor has passed, and which of them says most.
  struct Passed {
    std::size_t count = 0;
    const CoverageNotice* newest = nullptr;
  };
  [[nodiscard]] Passed passed(const Cursor& cursor) const;

  std::deque<CoverageNotice> waiting_;  // rising in LSN and ordinal
  Lsn covered_;
  std::uint32_t timeline_ = 0;
};

}  // namespace postrider
