// A repair's report, for people and for programs. Pure.
#pragma once

#include <string>

#include "daemon/repair/repair.h"

namespace postrider {

[[nodiscard]] std::string to_text(const RepairReport& report, const RepairOptions& options);
// One JSON object; lists everything.
[[nodiscard]] std::string to_json(const RepairReport& report, const RepairOptions& options);

}  // namespace postrider
