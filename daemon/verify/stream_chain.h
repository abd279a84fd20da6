// Holds the messages of a stream, one after another, to the chain that a relay writes: ordinals
// without gaps, positions that rise, whole transactions. Goes on after a fault, so that one does
// not hide another. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "daemon/verify/stream_findings.h"
#include "postrider/position.h"

namespace postrider {

class StreamChain {
 public:
  explicit StreamChain(StreamFindings& findings) : findings_(findings) {}

  // The next message. The first one may stand anywhere: what was before it is gone by age.
  // Ordinals that it declares left out by a repair are no gap.
  void accept(std::uint64_t seq, const PositionHeader& header,
              const std::optional<OrdinalRange>& hole = std::nullopt);
  // Events before the next message are known to be gone by age: it is as the first one.
  void forget() { last_.reset(); }
  // True when accepting it would find a gap.
  [[nodiscard]] bool would_gap(const PositionHeader& header,
                               const std::optional<OrdinalRange>& hole) const {
    return last_ && header.ordinal > last_->ordinal + 1 && !follows(header, hole);
  }
  [[nodiscard]] const std::optional<PositionHeader>& last() const { return last_; }

 private:
  [[nodiscard]] bool follows(const PositionHeader& header,
                             const std::optional<OrdinalRange>& hole) const {
    return hole && hole->lies_between(last_->ordinal, header.ordinal);
  }

  StreamFindings& findings_;
  std::optional<PositionHeader> last_;
};

}  // namespace postrider
