// Logs go to standard error: text for people, or one JSON object a line for machines.
#pragma once

#include <string>

namespace postrider {

// Once, before other threads start.
void configure_logging(const std::string& level, bool json);

}  // namespace postrider
