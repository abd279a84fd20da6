// `postrider replica create`: makes the target tables that a read model's replicas lack.
#pragma once

#include <string>
#include <vector>

#include "readmodel/replica/rules.h"

namespace postrider {

struct ReplicaDefinition {
  std::string source;     // schema.table
  std::string target;     // schema.table
  std::string statement;  // that makes the target table; empty: it exists
};

// For each captured table of the source that a rule takes, in the order of their names. Where it is
// not known which are captured (Options::carried is empty): all that a rule takes. Makes them in
// one transaction, unless `print_only`. Throws Failure; then nothing was made.
[[nodiscard]] std::vector<ReplicaDefinition> create_replicas(const replica::Options& options,
                                                             const std::string& target_conninfo,
                                                             bool print_only);

}  // namespace postrider
