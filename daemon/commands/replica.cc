#include <iostream>

#include "daemon/commands/commands.h"
#include "readmodel/postgres/replica_create.h"

namespace postrider {

int run_replica_create(const Config& config, const std::string& readmodel, bool print_only) {
  const auto& found = find_readmodel(config, readmodel);
  if (found.replicas.rules.empty())
    throw Failure(ErrorKind::kConfiguration, "read model \"" + readmodel + "\" has no [[replica]]",
                  "add one: docs/replicas.md");
  if (found.options.source != config.relay.source.name)
    throw Failure(ErrorKind::kConfiguration,
                  "read model \"" + readmodel + "\" is of source \"" + found.options.source +
                      "\", this file's is \"" + config.relay.source.name + "\"",
                  "use a file whose [source] is that one");
  const auto definitions =
      create_replicas(found.replicas, found.options.target_conninfo, print_only);
  for (const auto& [source, target, statement] : definitions) {
    if (print_only && !statement.empty())
      std::cout << statement << ";\n";
    else if (!print_only)
      std::cout << (statement.empty() ? "exists  " : "made    ") << target << '\n';
  }
  if (definitions.empty()) std::cerr << "no captured table of the source is taken\n";
  return definitions.empty() ? kExitNegative : kExitOk;
}

}  // namespace postrider
