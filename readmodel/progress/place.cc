#include "readmodel/progress/place.h"

#include <algorithm>

namespace postrider {
namespace {

tl::unexpected<Error> behind(const Cursor& cursor, const std::string& first) {
  return fail(ErrorKind::kStreamBehind,
              "the read model needs ordinal " + std::to_string(cursor.ordinal + 1) +
                  ", but the stream begins with " + first,
              "the stream's retention removed events before they were applied: give it a longer "
              "max_age, and build the read model anew: `postrider apply rebuild NAME`");
}

}  // namespace

Result<Place> place_in(const Cursor& cursor, const std::optional<StreamView>& stream) {
  if (!stream) return WaitForStream{"the stream does not exist"};
  if (cursor.is_none() && stream->last_seq > 0 && stream->first_seq > stream->last_seq)
    return behind(cursor, "sequence " + std::to_string(stream->first_seq) + ": it is empty");
  if (cursor.is_none()) return ReadFrom{std::max<std::uint64_t>(stream->first_seq, 1)};
  if (stream->incarnation != cursor.incarnation) return SearchByOrdinal{};
  if (stream->last_seq < cursor.seq)
    return WaitForStream{"the stream ends at sequence " + std::to_string(stream->last_seq) +
                         ", the cursor is at " + std::to_string(cursor.seq)};
  if (stream->first_seq > cursor.seq + 1)
    return behind(cursor, "sequence " + std::to_string(stream->first_seq) +
                              " (the cursor is at sequence " + std::to_string(cursor.seq) + ")");
  return ReadFrom{cursor.seq};
}

Result<Place> place_after_search(const Cursor& cursor, const std::optional<Found>& found) {
  if (!found)
    return WaitForStream{"the stream ends before ordinal " + std::to_string(cursor.ordinal)};
  // Whether a declared hole may be passed is the chain's to say.
  const bool declared = found->hole && found->hole->first <= cursor.ordinal + 1;
  if (found->header.ordinal > cursor.ordinal + 1 && !declared)
    return behind(cursor, "ordinal " + std::to_string(found->header.ordinal));
  return ReadFrom{found->seq};
}

}  // namespace postrider
