#include "relay/progress/resume.h"

#include <string>

namespace postrider {

Resume::Resume(const Start& start, std::uint32_t home_timeline)
    : mark_(start.mark),
      home_timeline_(home_timeline),
      verify_first_(start.verify_first),
      awaiting_mark_(start.verify_first),
      skip_(start.skip),
      published_before_(start.published_before),
      last_ordinal_(start.mark.ordinal) {}

tl::unexpected<Error> Resume::differs(std::string_view found) const {
  return fail(
      ErrorKind::kHistoryDiffers,
      "the stream holds ordinal " + std::to_string(mark_.ordinal) + " at " +
          mark_.position.to_string() + " of transaction " + std::to_string(mark_.fingerprint.xid) +
          " committed at " + std::to_string(mark_.fingerprint.commit_time_us) +
          " us, but the server's WAL holds " + std::string(found),
      "the source was restored and has reused its LSNs: its new commits and the stream's tail "
      "belong to different histories. Restore the right state, or give up what was published "
      "since: "
      "`postrider repair --dry-run` lists it");
}

Result<void> Resume::require_skipped(Lsn reached) const {
  if (skip_ == 0 || published_before_.is_none() || reached < published_before_) return {};
  return fail(ErrorKind::kForeignMessage,
              "the stream's newest message is gone, and by their sequences " +
                  std::to_string(skip_) +
                  " more messages were published than the source has events: somebody else "
                  "published into the stream, and the messages were deleted or have aged out",
              "`postrider repair --dry-run` reads which of the events are in the stream: counting "
              "cannot tell (docs/operating.md, \"foreign message\")");
}

Result<void> Resume::on_begin(Lsn commit_lsn, Fingerprint fingerprint) {
  if (auto fits = require_skipped(commit_lsn); !fits) return fits;
  if (!verify_first_) return {};
  verify_first_ = false;
  if (commit_lsn == mark_.position.commit_lsn && fingerprint == mark_.fingerprint) return {};
  return differs("transaction " + std::to_string(fingerprint.xid) + " committed at " +
                 std::to_string(fingerprint.commit_time_us) + " us at " + commit_lsn.to_string());
}

Result<std::optional<std::uint64_t>> Resume::on_event(const Position& position,
                                                      Fingerprint fingerprint,
                                                      std::uint32_t epoch) {
  if (previous_.commit_lsn.value != 0 && position <= previous_)
    return fail(ErrorKind::kInternal,
                "position " + position.to_string() + " came after " + previous_.to_string());
  previous_ = position;
  if (!mark_.is_none() && position <= mark_.position) {
    ++dropped_;
    if (position == mark_.position) {
      awaiting_mark_ = false;
      if (fingerprint != mark_.fingerprint) return differs("another transaction there");
    }
    return std::optional<std::uint64_t>{};
  }
  if (awaiting_mark_) return differs("no carried event at that position");
  ++last_ordinal_;
  if (skip_ == 0) return std::optional<std::uint64_t>(last_ordinal_);
  if (position.timeline != home_timeline_)
    return fail(ErrorKind::kTimelineDiverged,
                "a promotion lies between the checkpoint and the stream's unreadable tail at " +
                    position.to_string(),
                "`postrider repair --dry-run` compares the stream's messages with the outbox rows, "
                "and --resend sends what is missing (docs/operating.md, \"timeline diverged\")");
  // It must move with what is skipped: a checkpoint written later would else vouch for too little,
  // and the next session would skip events that were never published.
  mark_ = {mark_.seq + 1, last_ordinal_, position, fingerprint, epoch};
  --skip_;
  ++dropped_;
  return std::optional<std::uint64_t>{};
}

Result<void> Resume::on_commit(Lsn commit_lsn) {
  if (awaiting_mark_ && commit_lsn >= mark_.position.commit_lsn)
    return differs("no carried event at that position");
  return {};
}

Result<void> Resume::on_caught_up(Lsn end) {
  if (verify_first_ && end > mark_.position.commit_lsn)
    return differs("no carried transaction there");
  return require_skipped(end);
}

}  // namespace postrider
