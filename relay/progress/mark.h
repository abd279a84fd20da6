// Places in the stream and in the source that progress is counted by.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "postrider/lsn.h"
#include "postrider/position.h"

namespace postrider {

// A message's place: in the stream by sequence, in the source by ordinal and position.
// An ordinal of 0 means "before the first message". A mark with an ordinal and no commit LSN stands
// behind a hole that a repair left: the ordinals up to it are used, and no message has them.
struct Mark {
  std::uint64_t seq = 0;
  std::uint64_t ordinal = 0;
  Position position;
  Fingerprint fingerprint;
  std::uint32_t epoch = 0;

  friend bool operator==(const Mark&, const Mark&) = default;
  [[nodiscard]] bool is_none() const { return ordinal == 0; }
  [[nodiscard]] bool names_message() const { return !position.commit_lsn.is_none(); }
};

// The checkpoint row of a source (outbox.checkpoint): the newest message known to be durable, and
// what the slot may have been told.
struct Checkpoint {
  std::string slot;                 // that covers the source, as `migrate up` made it
  std::string publication;          // that selects its changes
  std::string publication_version;  // as it was when the slot was made; empty: it was missing
  std::string system_id;
  std::int64_t session = 0;  // fences later writes
  std::string
      incarnation;  // the stream's `created` time, as the broker prints it; empty: none bound
  Mark mark;        // seq is the stream's last sequence at binding while ordinal is 0
  Lsn confirm_to;   // the highest LSN that may have been confirmed
  std::string epochs_json;
  std::optional<std::uint64_t> foreign_seq;  // the stream held a foreign message there, or before
  bool wal_store = false;                    // emit may write logical messages
  Lsn capture_from = {};   // commits before it cannot be decoded with the capture publication
  bool repairing = false;  // `postrider repair` has begun and not ended
};

}  // namespace postrider
