// What a person orders about a stopped read model: `postrider apply retry` and `skip`.
#pragma once

#include <optional>
#include <string>

#include "readmodel/postgres/target.h"

namespace postrider {

// Notes the decision, "retry" or "skip", for the applier to carry out. Nothing when the read model
// is not stopped. Throws Failure.
[[nodiscard]] std::optional<Stop> decide_stop(const std::string& conninfo,
                                              const std::string& readmodel,
                                              const std::string& decision);

}  // namespace postrider
