#include "readmodel/progress/chain.h"

#include <utility>

namespace postrider {
namespace {

std::string describe(const Cursor& cursor) {
  if (cursor.is_none()) return "the beginning";
  return "ordinal " + std::to_string(cursor.ordinal) + " at " + cursor.position.to_string();
}

std::string describe(std::uint64_t seq, const PositionHeader& header) {
  return "sequence " + std::to_string(seq) + " holds ordinal " + std::to_string(header.ordinal) +
         " at " + header.position.to_string();
}

bool same_transaction(const Position& a, const Position& b) {
  return a.timeline == b.timeline && a.commit_lsn == b.commit_lsn;
}

constexpr const char* kRebuild =
    "find out what was published into the stream besides the relay's own messages, or rebuild the "
    "read model: `postrider apply rebuild NAME`";

}  // namespace

Chain::Chain(const Cursor& cursor, std::string incarnation) : end_(cursor), whole_(cursor.ordinal) {
  if (end_.incarnation != incarnation) {
    end_.incarnation = std::move(incarnation);
    end_.seq = 0;
  }
}

Result<Chain::Step> Chain::skip(const PositionHeader& header) const {
  const bool same = header.ordinal == end_.ordinal;
  if (same ? header.position == end_.position && header.fingerprint == end_.fingerprint
           : header.position < end_.position)
    return Step::kSkip;
  return fail(
      ErrorKind::kHistoryDiffers,
      "the stream's ordinal " + std::to_string(header.ordinal) + " is at " +
          header.position.to_string() + ", but the read model has applied " + describe(end_),
      "the source's history was replaced by another one: rebuild the read model, `postrider "
      "apply rebuild NAME`");
}

// That the message has the ordinal behind the newest one, or behind a hole that begins there.
Result<void> Chain::require_next(std::uint64_t seq, const PositionHeader& header,
                                 const std::optional<OrdinalRange>& hole) const {
  if (hole && hole->last + 1 != header.ordinal)
    return fail(ErrorKind::kHistoryDiffers,
                describe(seq, header) + " and declares a hole of " + hole->to_string(), kRebuild);
  if (hole && in_transaction_ && hole->first == whole_ + 1)
    return fail(ErrorKind::kBrokerUnavailable,
                "the transaction that " + describe(end_) +
                    " belongs to was withdrawn by a repair: reading again behind it");
  if (hole && hole->first <= end_.ordinal)
    return fail(ErrorKind::kHistoryDiffers,
                "ordinals " + hole->to_string() +
                    " were given up by a repair of the source, and the read model has applied " +
                    describe(end_),
                "its rows hold what is no longer true, or would come twice: rebuild it, `postrider "
                "apply rebuild NAME`");
  if (hole && hole->first == end_.ordinal + 1) return {};
  if (end_.is_none() && header.ordinal != 1)
    return fail(ErrorKind::kStreamBehind,
                "the stream begins with ordinal " + std::to_string(header.ordinal) +
                    ", the read model needs ordinal 1",
                "the stream's retention removed its beginning: give the stream a longer max_age; "
                "events that are gone can only come from the source again");
  if (header.ordinal != end_.ordinal + 1)
    return fail(ErrorKind::kStreamGap, describe(seq, header) + " behind " + describe(end_),
                kRebuild);
  return {};
}

Result<Chain::Step> Chain::accept(std::uint64_t seq, const PositionHeader& header,
                                  const std::optional<OrdinalRange>& hole) {
  if (header.ordinal <= end_.ordinal) {
    auto step = skip(header);
    if (step && header.ordinal == end_.ordinal) end_.seq = seq;
    return step;
  }
  if (auto next = require_next(seq, header, hole); !next)
    return tl::unexpected(std::move(next.error()));
  if (!end_.is_none() && header.position <= end_.position)
    return fail(ErrorKind::kHistoryDiffers,
                describe(seq, header) + ", which is not after " + describe(end_), kRebuild);
  if (header.epoch < end_.epoch)
    return fail(ErrorKind::kHistoryDiffers,
                describe(seq, header) + " of epoch " + std::to_string(header.epoch) +
                    " behind epoch " + std::to_string(end_.epoch),
                kRebuild);
  if (in_transaction_ &&
      (!same_transaction(header.position, end_.position) || header.fingerprint != end_.fingerprint))
    return fail(
        ErrorKind::kTornTransaction,
        describe(seq, header) + ", but the transaction of " + describe(end_) + " has not ended",
        kRebuild);
  if (!in_transaction_ && !end_.is_none() && same_transaction(header.position, end_.position))
    return fail(ErrorKind::kTornTransaction,
                describe(seq, header) + ", but its transaction ended with " + describe(end_),
                kRebuild);
  end_.seq = seq;
  end_.ordinal = header.ordinal;
  end_.position = header.position;
  end_.fingerprint = header.fingerprint;
  end_.epoch = header.epoch;
  in_transaction_ = !header.last;
  if (header.last) whole_ = header.ordinal;
  return Step::kApply;
}

}  // namespace postrider
