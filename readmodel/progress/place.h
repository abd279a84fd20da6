// Where to read the stream from, given the cursor. Pure.
//
// Reading starts at the cursor's own message, not behind it, so that the chain can prove that the
// stream still is the one that was applied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/error.h"
#include "readmodel/progress/cursor.h"

namespace postrider {

struct StreamView {
  std::string incarnation;
  std::uint64_t first_seq = 0;
  std::uint64_t last_seq = 0;
};

// Read from this sequence on; it may be gone by age, then the server begins behind it.
struct ReadFrom {
  std::uint64_t seq = 1;
};
// The stream does not hold yet what was applied already: it was cut back, and is published again.
struct WaitForStream {
  std::string why;
};
// Another incarnation: sequences mean nothing, the place must be found by ordinal.
struct SearchByOrdinal {};

using Place = std::variant<ReadFrom, WaitForStream, SearchByOrdinal>;

// kStreamBehind when the stream no longer holds what the cursor needs next.
[[nodiscard]] Result<Place> place_in(const Cursor& cursor, const std::optional<StreamView>& stream);

// What stands where the ordinal was looked for: the first message at or beyond it.
struct Found {
  std::uint64_t seq = 0;
  PositionHeader header;
  std::optional<OrdinalRange> hole = std::nullopt;  // that it declares
};
// Where to read after a search; `found` is nothing when every message is before the cursor.
[[nodiscard]] Result<Place> place_after_search(const Cursor& cursor,
                                               const std::optional<Found>& found);

}  // namespace postrider
