// What a read model has applied: the newest event whose effects are committed. Stored in the same
// transaction as they are. An ordinal of 0 means "nothing yet".
#pragma once

#include <cstdint>
#include <string>

#include "postrider/position.h"

namespace postrider {

struct Cursor {
  std::string incarnation;  // of the stream that `seq` counts in; empty before the first event
  std::uint64_t seq = 0;
  std::uint64_t ordinal = 0;
  Position position;
  Fingerprint fingerprint;
  std::uint32_t epoch = 0;

  friend bool operator==(const Cursor&, const Cursor&) = default;
  [[nodiscard]] bool is_none() const { return ordinal == 0; }
};

}  // namespace postrider
