// Stream against outbox: every committed row's event is in the stream once, in order.
//
// Rows are read in one snapshot, the stream from its first message; both only once, whatever their
// size: ids with what else is compared go into temporary files, by a hash of the id, and are joined
// partition by partition. Memory is that of one partition: 1/128 of both sides, about 1 MB for a
// million events.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "daemon/verify/stream_findings.h"
#include "daemon/verify/stream_join.h"
#include "postrider/lsn.h"
#include "relay/options.h"

namespace postrider {

struct VerifyStreamOptions {
  RelayOptions relay;                         // source, broker, stream
  std::string source_conninfo;                // a member of postrider_relay
  std::chrono::milliseconds timeout{30'000};  // the longest wait for the relay
  std::size_t limit = 100;                    // findings to list
};

struct StreamVerdict {
  std::string could_not_say;  // why; empty when it can be told

  Lsn place;  // rows that committed before it
  std::uint64_t rows = 0;
  std::uint64_t messages = 0;
  std::uint64_t row_changes = 0;  // of those
  std::uint64_t first_ordinal = 0;
  std::uint64_t last_ordinal = 0;
  std::string last_position;
  JoinCounts counts;
  std::uint64_t faults = 0;
  StreamFindings findings{0};
  std::chrono::milliseconds took{0};

  // What is wrong is wrong, also where something else could not be told.
  [[nodiscard]] bool differs() const { return faults > 0; }
};

// Blocks. Throws Failure.
[[nodiscard]] StreamVerdict verify_stream(const VerifyStreamOptions& options);

}  // namespace postrider
