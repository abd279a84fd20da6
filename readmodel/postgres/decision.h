// What a person orders about a stopped read model: `postrider apply retry` and `skip`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "readmodel/postgres/target.h"

namespace postrider {

// Notes the decision, "retry" or "skip", for the applier to carry out. With `ordinal` only where
// the refused transaction begins there: the stop may be another by now than the person has seen;
// whose `decision` is then empty. Nothing when the read model is not stopped. Throws Failure.
[[nodiscard]] std::optional<Stop> decide_stop(const std::string& conninfo,
                                              const std::string& readmodel,
                                              const std::string& decision,
                                              std::optional<std::uint64_t> ordinal);

}  // namespace postrider
