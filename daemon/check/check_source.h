// The PostgreSQL half of `postrider check`.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "daemon/check/check.h"

namespace postrider {

// What the source says that the broker's half compares with.
struct OutboxLimits {
  std::optional<std::int64_t> max_payload_bytes;
};

OutboxLimits check_source(const RelayOptions& options, std::vector<CheckLine>& lines);

}  // namespace postrider
