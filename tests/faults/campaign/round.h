// One round: a fresh world, its writers, its faults, and the verdict when everything has healed.
#pragma once

#include <filesystem>

#include "tests/faults/campaign/plan.h"
#include "tests/faults/campaign/report.h"

namespace postrider::campaign {

// In `folder`, which is made: schedule.jsonl before anything else, logs, faults.jsonl as they come,
// the data of all servers. Throws only when a server of the test's own does not start.
[[nodiscard]] Report run_round(const Plan& plan, const std::filesystem::path& folder);

}  // namespace postrider::campaign
