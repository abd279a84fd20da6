#include "readmodel/progress/coverage.h"

#include <utility>

namespace postrider {

void Coverage::on_notice(CoverageNotice notice) {
  // A relay that begins a new session may repeat itself, or speak of another stream.
  while (!waiting_.empty() &&
         (waiting_.back().incarnation != notice.incarnation ||
          waiting_.back().timeline > notice.timeline || waiting_.back().lsn > notice.lsn))
    waiting_.pop_back();
  // The same ordinal: only the newest LSN matters.
  if (!waiting_.empty() && waiting_.back().ordinal == notice.ordinal) waiting_.pop_back();
  waiting_.push_back(std::move(notice));
  // The second oldest goes: the oldest is reached first, the newest says most.
  if (waiting_.size() > kMost) waiting_.erase(waiting_.begin() + 1);
}

Coverage::Passed Coverage::passed(const Cursor& cursor) const {
  Passed passed;
  for (const auto& notice : waiting_) {
    const bool own =
        notice.incarnation == cursor.incarnation || (cursor.is_none() && notice.ordinal == 0);
    if (own && notice.ordinal > cursor.ordinal) break;
    // One of a stream that is not the one read goes, and says nothing. Equal ordinals of two
    // histories would differ here: then the notice is not ours to believe.
    if (own && (notice.ordinal < cursor.ordinal || notice.position == cursor.position ||
                notice.ordinal == 0))
      passed.newest = &notice;
    ++passed.count;
  }
  const auto* newest = passed.newest;
  if (newest &&
      (newest->timeline < timeline_ || (newest->timeline == timeline_ && newest->lsn <= covered_)))
    passed.newest = nullptr;
  return passed;
}

std::optional<CoverageNotice> Coverage::reached(const Cursor& cursor) const {
  const auto* newest = passed(cursor).newest;
  return newest ? std::optional(*newest) : std::nullopt;
}

std::optional<CoverageNotice> Coverage::take_reached(const Cursor& cursor) {
  const auto found = passed(cursor);
  std::optional<CoverageNotice> newest;
  if (found.newest) newest = *found.newest;
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(found.count));
  if (!newest) return std::nullopt;
  timeline_ = newest->timeline;
  covered_ = newest->lsn;
  return newest;
}

}  // namespace postrider
