// Read models' statuses in Prometheus' text form. Every name is described in docs/operating.md.
#pragma once

#include <string>
#include <vector>

#include "readmodel/status.h"

namespace postrider {

// `now_us` is the wall clock, microseconds since 1970-01-01 UTC: only the age gauge needs it.
[[nodiscard]] std::string readmodel_metrics_text(const std::vector<ReadModelStatus>& statuses,
                                                 std::int64_t now_us);

}  // namespace postrider
