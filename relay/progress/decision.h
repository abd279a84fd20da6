// Where a session starts: design section 3, "When the world moves back", as one pure function.
//
// The stream is the checkpoint: its newest message, the mark, says what has been published. The
// checkpoint row says what is durable and may have been forgotten by the slot. The two, the slot
// and the server's own history either fit together, and then there is exactly one place to go on;
// or they do not, and then only a person can say which of them is right. Anything that the table
// does not name halts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "relay/progress/mark.h"
#include "relay/progress/timeline_history.h"

namespace postrider {

struct SlotFacts {
  bool exists = false;
  std::string plugin;
  bool two_phase = false;
  bool lost = false;  // invalidated: WAL that it needs is gone
  bool other_database = false;
  Lsn confirmed;
};

struct StreamFacts {
  std::string incarnation;
  std::uint64_t first_seq = 0;
  std::uint64_t last_seq = 0;
  std::uint64_t messages = 0;
  bool reports_lost_data = false;
};

// The message at the stream's last sequence.
struct TailGone {};  // aged out or deleted, or the stream never had one
struct TailForeign {
  std::string why;
};
using Tail = std::variant<TailGone, TailForeign, PositionHeader>;

struct Facts {
  std::string system_id;  // the server's, from IDENTIFY_SYSTEM
  Lsn flushed;            // end of the server's durable WAL
  TimelineHistory history{1};
  Checkpoint checkpoint;
  std::vector<std::uint32_t> epochs;  // numbers of those in the checkpoint row, its mark's included
  std::optional<OrdinalRange> hole = std::nullopt;  // that it declares
  std::string slot_name;
  SlotFacts slot;
  std::string stream_name;
  std::optional<StreamFacts> stream;  // nothing: it does not exist
  Tail tail;                          // meaningful only with a stream
};

struct Start {
  bool create_stream = false;
  bool bind_stream = false;  // write the stream's incarnation into the row before the first publish
  Mark mark;                 // the newest message published; ordinal 0: none
  Lsn start_lsn;             // for START_REPLICATION; none means "where the slot is confirmed"
  bool verify_first = false;  // the first transaction received must be the mark's
  std::uint64_t skip =
      0;  // carried messages after the mark that the stream holds but no longer shows
  // The newest message cannot be read, with or without others behind the mark: nothing up to it
  // proves anything.
  bool tail_gone = false;
  // Whatever the stream held at the start is of a commit before this; none: not known. Set by the
  // caller, who reads it after the stream.
  Lsn published_before;
};

[[nodiscard]] Result<Start> decide(const Facts& facts);

}  // namespace postrider
