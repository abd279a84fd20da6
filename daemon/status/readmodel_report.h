// What `postrider status` shows of the read models in the target database: from outside, with the
// applier's rights, taking no lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/readmodel_config.h"

namespace postrider {

struct ReadModelReport {
  std::string name;
  // "applied", "nobody", "stopped", "behind", "never" (no cursor yet) or "?" (database away)
  std::string state = "?";
  std::uint64_t ordinal = 0;
  // Of the stream, not applied yet; nothing while the stream lacks what was applied.
  std::optional<std::uint64_t> lag_messages;
  std::string stopped;                           // why, by which projection, where
  std::uint64_t parked = 0;                      // source transactions set aside
  std::optional<std::uint64_t> rebuild_ordinal;  // how far a rebuild is
  bool nears_stream_start = false;

  std::vector<std::string> problems;
};

// In the order of the configuration. Never throws for a server that is away: that is a problem.
[[nodiscard]] std::vector<ReadModelReport> collect_readmodels(
    const std::vector<ReadModelConfig>& readmodels);

}  // namespace postrider
