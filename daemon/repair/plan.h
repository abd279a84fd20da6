// What a repair keeps of the stream, and with which ordinal the source goes on. Pure.
//
// Everything up to the end of a transaction is kept. What stands behind it is deleted: it is void,
// or the beginning of a transaction that is sent again as a whole. The ordinals from there on that
// may have been given to events, in this stream or in one that was lost, are never given again:
// they are the hole that the next message declares.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "relay/progress/mark.h"

namespace postrider {

// What reading the stream from end to end has shown. Zero where there is no stream.
struct StreamContent {
  bool exists = false;
  bool same_incarnation = false;    // as the checkpoint row's
  std::uint64_t first_seq = 0;      // of the stream
  std::uint64_t first_ordinal = 0;  // of any message that can be read
  bool lost_front = false;          // the broker lost what stood before that, it did not age out
  std::uint64_t last_seq = 0;       // of the stream
  std::uint64_t kept_seq = 0;  // newest message that is kept, the last of its transaction; 0: none
  std::uint64_t kept_ordinal = 0;     // its ordinal
  std::uint64_t highest_ordinal = 0;  // of any message that can be read
  std::uint64_t behind = 0;           // messages behind it that can be read
  // Sequences behind the newest message that can be read, and behind the row's: deleted, or gone.
  std::uint64_t gone_behind = 0;
};

// A repair that has begun, as `outbox.checkpoint.repair` keeps it.
struct BegunRepair {
  std::uint64_t used = 0;                   // ordinals up to it are set aside
  std::uint64_t good = 0;                   // up to it they are kept
  std::optional<std::uint64_t> void_after;  // the operator's word, which later runs keep
};

struct RepairPlan {
  std::uint64_t good = 0;      // the newest ordinal that is kept
  std::uint64_t keep_seq = 0;  // messages behind it are deleted
  std::uint64_t last_seq = 0;  // of the stream, which deleting does not change
  std::uint64_t next_ordinal = 1;
  std::optional<OrdinalRange> hole;

  friend bool operator==(const RepairPlan&, const RepairPlan&) = default;
};

// `begun`: what a repair that did not end had planned: its good messages may be gone by age
// meanwhile, its void ones are deleted. `pending`: the hole that the row's newest epoch declares.
[[nodiscard]] RepairPlan plan_repair(const Checkpoint& row, const StreamContent& stream,
                                     const std::optional<BegunRepair>& begun,
                                     const std::optional<OrdinalRange>& pending);

}  // namespace postrider
