// The relay's status in Prometheus' text form. Every name is described in docs/operating.md.
#pragma once

#include <string>

#include "relay/status.h"

namespace postrider {

// `now_us` is the wall clock, microseconds since 1970-01-01 UTC: only the lag gauge needs it.
[[nodiscard]] std::string metrics_text(const std::string& source, const RelayStatus& status,
                                       std::int64_t now_us);

}  // namespace postrider
