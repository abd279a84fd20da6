// The NATS half of `postrider check`.
#pragma once

#include <vector>

#include "daemon/check/check.h"
#include "daemon/check/check_source.h"

namespace postrider {

void check_broker(const RelayOptions& options, const OutboxLimits& limits,
                  std::vector<CheckLine>& lines);

}  // namespace postrider
