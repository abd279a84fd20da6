// What of the replayed WAL is already in the stream, and the ordinal of what is not.
//
// A session starts decoding at or before the mark. Resume drops what the mark covers, proves on the
// way that the history is still the one that was published, and hands out ordinals for the rest.
// Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "relay/progress/decision.h"

namespace postrider {

class Resume {
 public:
  // `start` is decide()'s answer; `home_timeline` is the server's timeline at session start.
  Resume(const Start& start, std::uint32_t home_timeline);

  // A transaction begins. kHistoryDiffers when it must be the mark's and is not, kForeignMessage
  // when messages are left to be skipped although none of them can be of this commit or a later
  // one.
  [[nodiscard]] Result<void> on_begin(Lsn commit_lsn, Fingerprint fingerprint);
  // A carried event: its ordinal, or nothing when the stream holds it already. Positions must rise.
  [[nodiscard]] Result<std::optional<std::uint64_t>> on_event(const Position& position,
                                                              Fingerprint fingerprint,
                                                              std::uint32_t epoch);
  // A transaction ended at a commit starting at `commit_lsn`.
  [[nodiscard]] Result<void> on_commit(Lsn commit_lsn);
  // The server says that it has decoded everything up to `end`.
  [[nodiscard]] Result<void> on_caught_up(Lsn end);

  // The newest message that the stream is known to hold: the start's mark, moved on by what is
  // skipped.
  [[nodiscard]] const Mark& mark() const { return mark_; }
  // Events recognised as published so far.
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  // True when nothing is left to be recognised.
  [[nodiscard]] bool done() const { return !verify_first_ && !awaiting_mark_ && skip_ == 0; }

 private:
  [[nodiscard]] tl::unexpected<Error> differs(std::string_view found) const;
  // Checks that what is to be skipped was found, once `reached` is beyond where it can be.
  [[nodiscard]] Result<void> require_skipped(Lsn reached) const;

  Mark mark_;
  std::uint32_t home_timeline_;
  bool verify_first_;
  bool awaiting_mark_;  // the mark's own event has not been seen again yet
  std::uint64_t skip_;
  Lsn published_before_;
  std::uint64_t last_ordinal_;
  std::uint64_t dropped_ = 0;
  Position previous_;
};

}  // namespace postrider
