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

std::optional<CoverageNotice> Coverage::take_reached(const Cursor& cursor) {
  std::optional<CoverageNotice> reached;
  while (!waiting_.empty()) {
    const auto& notice = waiting_.front();
    if (notice.incarnation != cursor.incarnation && !(cursor.is_none() && notice.ordinal == 0)) {
      waiting_.pop_front();  // of a stream that is not the one read
      continue;
    }
    if (notice.ordinal > cursor.ordinal) break;
    // Equal ordinals of two histories would differ here: then the notice is not ours to believe.
    if (notice.ordinal < cursor.ordinal || notice.position == cursor.position ||
        notice.ordinal == 0)
      reached = std::move(waiting_.front());
    waiting_.pop_front();
  }
  if (!reached) return std::nullopt;
  const bool more =
      reached->timeline > timeline_ || (reached->timeline == timeline_ && reached->lsn > covered_);
  if (!more) return std::nullopt;
  timeline_ = reached->timeline;
  covered_ = reached->lsn;
  return reached;
}

}  // namespace postrider
