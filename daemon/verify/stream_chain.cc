#include "daemon/verify/stream_chain.h"

#include <string>

namespace postrider {
namespace {

std::string describe(std::uint64_t seq, const PositionHeader& header) {
  return "sequence " + std::to_string(seq) + ", ordinal " + std::to_string(header.ordinal) +
         " at " + header.position.to_string();
}

bool same_transaction(const PositionHeader& a, const PositionHeader& b) {
  return a.position.timeline == b.position.timeline &&
         a.position.commit_lsn == b.position.commit_lsn;
}

}  // namespace

void StreamChain::accept(std::uint64_t seq, const PositionHeader& header,
                         const std::optional<OrdinalRange>& hole) {
  const auto before = last_;
  const bool declared = before && follows(header, hole);
  if (!before) {
    last_ = header;
    return;
  }
  if (header.ordinal <= before->ordinal) {
    // What follows is judged by the chain without it.
    findings_.add(StreamFault::kChain,
                  describe(seq, header) + " behind ordinal " + std::to_string(before->ordinal));
    return;
  }
  last_ = header;
  if (header.ordinal > before->ordinal + 1 && !declared) {
    findings_.add(StreamFault::kGap, "ordinals " + std::to_string(before->ordinal + 1) + " to " +
                                         std::to_string(header.ordinal - 1) +
                                         " are missing before " + describe(seq, header));
    return;
  }
  if (header.position <= before->position || header.epoch < before->epoch)
    findings_.add(StreamFault::kChain,
                  describe(seq, header) + " is not after " + before->position.to_string());
  else if (same_transaction(header, *before) == before->last ||
           (!before->last && header.fingerprint != before->fingerprint))
    findings_.add(StreamFault::kTorn, describe(seq, header) +
                                          (before->last ? " goes on with a transaction that ended"
                                                        : " before the end of the transaction") +
                                          " at " + before->position.to_string());
}

}  // namespace postrider
