// Read model against source, exact, under live writes, design section 7.
//
// 1. Hold the read model: nothing is applied.                       (hold.h)
// 2. Take a snapshot of the source at P.                            (source_snapshot.h)
// 3. Let the read model run to P: exactly the transactions whose
//    commit record starts before P are applied.                     (progress/barrier.h)
// 4. Take a snapshot of the target, cursor included; let it go.
// 5. Hash both sides by range in those snapshots, narrow what differs to rows.
//
// No table is locked on either side. Whatever ends verify, at whatever step, ends its hold.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "postrider/lsn.h"
#include "readmodel/verify/comparison.h"
#include "readmodel/verify/difference.h"

namespace postrider {

struct VerifyReadModelOptions {
  std::string readmodel;
  std::string source_conninfo;  // a role with REPLICATION and SELECT on what the queries read
  std::string target_conninfo;  // the applier's role
  std::string schema;           // of the read model
  std::chrono::milliseconds timeout{30'000};  // the longest that each wait may take
  std::size_t limit = 100;                    // rows to list for each comparison
};

struct ComparisonResult {
  std::string name;
  std::uint64_t source_rows = 0;
  std::uint64_t target_rows = 0;
  std::size_t ranges_differing = 0;
  Differences differences;
  std::chrono::milliseconds took{0};

  [[nodiscard]] bool equal() const { return ranges_differing == 0; }
};

struct ReadModelVerdict {
  std::string could_not_say;  // why; empty when it was compared

  std::uint32_t timeline = 0;
  Lsn point;                          // P; compared is what committed before it
  std::uint64_t ordinal = 0;          // of the newest event applied at P
  std::string position;               // its position; empty for none
  std::uint64_t parked = 0;           // source transactions that the read model lacks by policy
  std::chrono::milliseconds held{0};  // how long nothing was applied
  std::vector<ComparisonResult> comparisons;
  std::chrono::milliseconds took{0};

  [[nodiscard]] bool differs() const;
};

inline constexpr std::size_t kRanges = 4096;

// Blocks. Throws Failure.
[[nodiscard]] ReadModelVerdict verify_readmodel(const VerifyReadModelOptions& options,
                                                const std::vector<Comparison>& comparisons);

}  // namespace postrider
