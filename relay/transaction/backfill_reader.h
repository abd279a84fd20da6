// Takes the message of a backfill apart into changes that the assembler is fed with. Keeps what the
// newest header said, since a backfill repeats it with each message. Pure.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "relay/capture/relation.h"
#include "relay/transaction/assembler.h"
#include "relay/wire/backfill_message.h"
#include "relay/wire/pgoutput.h"
#include "relay/wire/record_text.h"

namespace postrider {

class BackfillReader {
 public:
  // Begins a message, whose bytes must stay until it is read. kMalformedEvent when it is no
  // backfill's.
  [[nodiscard]] Result<void> open(const wire::LogicalMessage& message);

  [[nodiscard]] wire::BackfillKind kind() const { return header_->kind(); }
  // The next change of the message, nothing at its end, and nothing at all for kStart. Views this
  // reader until the next call.
  [[nodiscard]] Result<std::optional<BackfillChange>> next();

 private:
  std::string header_text_;
  std::optional<wire::BackfillHeader> header_;
  std::optional<CapturedRelation> table_;
  std::optional<wire::RecordReader> records_;
  bool truncation_left_ = false;
  wire::Tuple row_;
};

}  // namespace postrider
