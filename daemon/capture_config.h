// [[capture]] of the configuration file.
#pragma once

#include <toml++/toml.h>

#include <string>

#include "relay/progress/capture_rule.h"

namespace postrider {

// Reads one table. Throws Failure(kConfiguration).
[[nodiscard]] CaptureRule read_capture(const std::string& path, const toml::table& table);

}  // namespace postrider
