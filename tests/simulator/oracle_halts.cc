// Which halts the state of both servers calls for.
#include <cstdio>

#include "tests/simulator/oracle.h"

namespace postrider::sim {
namespace {

std::uint32_t epoch_of(const Publish& publish) {
  const std::string start = "Postrider-Position: v1 ";
  const auto found = publish.headers.find(start);
  if (found == std::string::npos) return 0;
  unsigned epoch = 0;
  const char* const fields = publish.headers.c_str() + found + start.size();
  return std::sscanf(fields, "%*u %*s %*u %*d %u", &epoch) == 1 ? epoch : 0;
}

}  // namespace

std::set<ErrorKind> Oracle::due() {
  extend();
  std::set<ErrorKind> kinds;
  const auto& disk = postgres_.disk();
  if (disk.system_id != disk.row.system_id) return {ErrorKind::kWrongSystem};
  if ((history_changed_ || foreign_) && broker_.stream()) {
    const auto& stream = *broker_.stream();
    const auto wrong = first_wrong(1, stream.last_seq());
    if (wrong != 0 && foreign_)
      kinds.insert(ErrorKind::kForeignMessage);
    else if (wrong != 0 && disk.timeline > 1)
      // Where later commits stand behind it, the chain of the newest window tells.
      kinds.insert({ErrorKind::kTimelineDiverged, ErrorKind::kForeignMessage});
    else if (wrong != 0)
      kinds.insert({ErrorKind::kSourceWentBack, ErrorKind::kHistoryDiffers});
  }
  if (!disk.slot.exists) kinds.insert(ErrorKind::kSlotMissing);
  if (disk.slot.lost || disk.slot.confirmed > disk.row.confirm_to)
    kinds.insert(ErrorKind::kSlotUnusable);
  if (disk.publication_version != disk.row.publication_version)
    kinds.insert(ErrorKind::kPublicationMissing);
  return kinds;
}

std::set<ErrorKind> Oracle::tolerated() {
  note_due();
  return tolerated_;
}

void Oracle::note_due() {
  std::set<ErrorKind> kinds = due();
  // An old message once more at the end looks like a stream that was cut back.
  if (destroyed_ || foreign_) kinds.insert(ErrorKind::kDurableEventsLost);
  // The row of the fork, or of the backup, does not know the stream yet, or the epoch.
  if ((history_changed_ || deleted_) && broker_.stream() && broker_.stream()->last_seq() > 0 &&
      (postgres_.row().incarnation != broker_.stream()->created ||
       epoch_of(broker_.stream()->messages.back().message) >
           (epochs_.empty() ? 0 : epochs_.back().number)))
    kinds.insert(ErrorKind::kForeignMessage);
  // The newest message cannot be read, and might be of the timeline that ended.
  if (postgres_.disk().timeline > 1 && broker_.stream() && broker_.stream()->last_seq() > 0 &&
      broker_.stream()->messages.back().gone)
    kinds.insert(ErrorKind::kTimelineDiverged);
  tolerated_.merge(kinds);
}

}  // namespace postrider::sim
