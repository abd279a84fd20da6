#include "daemon/verify/stream_findings.h"

namespace postrider {

const char* to_string(StreamFault fault) {
  switch (fault) {
    case StreamFault::kLost:
      return "lost";
    case StreamFault::kDuplicate:
      return "duplicate";
    case StreamFault::kAltered:
      return "altered";
    case StreamFault::kOrder:
      return "out_of_order";
    case StreamFault::kTorn:
      return "torn";
    case StreamFault::kGap:
      return "gap";
    case StreamFault::kChain:
      return "broken_chain";
    case StreamFault::kForeign:
      return "foreign";
  }
  return "?";
}

}  // namespace postrider
