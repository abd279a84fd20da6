#include "readmodel/progress/row_parts.h"

#include <string>
#include <utility>

namespace postrider {
namespace {

bool same_row(const Position& a, const Position& b) {
  return a.timeline == b.timeline && a.commit_lsn == b.commit_lsn && a.index == b.index;
}

tl::unexpected<Error> torn(const ReceivedEvent& message) {
  return fail(ErrorKind::kTornTransaction,
              "sequence " + std::to_string(message.seq) + ", ordinal " +
                  std::to_string(message.place.ordinal) + " at " +
                  message.place.position.to_string() +
                  ", does not go on with the parts of a row before it",
              "find out what was published into the stream besides the relay's own messages, or "
              "rebuild the read model: `postrider apply rebuild NAME`");
}

}  // namespace

Result<std::optional<ReceivedEvent>> RowParts::add(ReceivedEvent&& message) {
  const auto part = message.place.position.part;
  if (!part || message.parts == 1) {  // a tombstone has a part's position, and is whole
    if (row_ || message.parts != 1) return torn(message);
    return std::optional<ReceivedEvent>(std::move(message));
  }
  if (*part != next_ || *part >= message.parts) return torn(message);
  if (!row_) {
    row_ = std::move(message);
    row_->place.position.part.reset();
  } else {
    if (!same_row(row_->place.position, message.place.position) || message.parts != row_->parts)
      return torn(message);
    row_->payload += message.payload;
    row_->place.last = message.place.last;
  }
  if (++next_ < row_->parts) return std::optional<ReceivedEvent>();
  next_ = 0;
  return std::exchange(row_, std::nullopt);
}

}  // namespace postrider
