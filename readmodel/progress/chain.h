// Holds what is read from the stream to the chain that the relay wrote: ordinals without gaps,
// positions that rise, whole transactions, epochs that never fall. Pure.
//
// The chain begins at a cursor. What the cursor covers is skipped, what follows it is applied, and
// anything else is an error: a read model never guesses. A gap is no error where the message behind
// it declares it: a repair left those ordinals out (docs/operating.md, "Repair"). Who has applied
// one of them has applied what is no longer true, or what came again.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "readmodel/progress/cursor.h"

namespace postrider {

class Chain {
 public:
  enum class Step : std::uint8_t { kSkip, kApply };

  // `cursor` stands at the end of a transaction, or is none. `incarnation` is that of the stream
  // now read.
  Chain(const Cursor& cursor, std::string incarnation);

  // The next message of the stream. kStreamGap when events are missing before it, kTornTransaction
  // when the one before it was not the last of its transaction, kHistoryDiffers when it cannot
  // follow or equal what is covered. After an error the chain is as before.
  // `hole` is what the message declares.
  [[nodiscard]] Result<Step> accept(std::uint64_t seq, const PositionHeader& header,
                                    const std::optional<OrdinalRange>& hole = std::nullopt);

  // The newest message accepted: what the cursor will be once everything up to it is applied.
  [[nodiscard]] const Cursor& end() const { return end_; }
  // True between a transaction's first message and its last.
  [[nodiscard]] bool in_transaction() const { return in_transaction_; }

 private:
  [[nodiscard]] Result<Step> skip(const PositionHeader& header) const;
  [[nodiscard]] Result<void> require_next(std::uint64_t seq, const PositionHeader& header,
                                          const std::optional<OrdinalRange>& hole) const;

  Cursor end_;
  std::uint64_t whole_ = 0;  // ordinal of the newest message that ended a transaction
  bool in_transaction_ = false;
};

}  // namespace postrider
