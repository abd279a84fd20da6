// What verify compares of a read model's replicas, without a query of the user's: every table of
// the source that a rule takes, column by column as its events carry them, with its target table.
#pragma once

#include <string>
#include <vector>

#include "readmodel/replica/rules.h"
#include "readmodel/verify/comparison.h"

namespace postrider {

// Named schema.table, as at the source. A captured table without target table is compared with
// nothing: equal while it is empty. Where it is not known which tables are captured
// (Options::carried is empty), those without target are left out. Throws Failure.
[[nodiscard]] std::vector<Comparison> replica_comparisons(const replica::Options& options,
                                                          const std::string& target_conninfo);

}  // namespace postrider
