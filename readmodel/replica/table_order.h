// In which order tables are written, so that foreign keys hold at every step. Pure.
#pragma once

#include <vector>

#include "readmodel/replica/target_table.h"

namespace postrider::replica {

// Tables that others refer to come before those; where they go in a circle, as they were given.
[[nodiscard]] std::vector<const TargetTable*> parents_first(
    const std::vector<const TargetTable*>& tables);

}  // namespace postrider::replica
