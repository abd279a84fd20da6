#include <iostream>

#include "daemon/commands/commands.h"
#include "daemon/repair/print_repair.h"

namespace postrider {

int run_repair(const Config& config, const RepairCommand& command) {
  RepairOptions options;
  options.relay = config.relay;
  options.owner_conninfo = config.owner_conninfo;
  options.dry_run = command.dry_run;
  options.void_after = command.void_after;
  const auto report = repair(options);
  std::cout << (command.json ? to_json(report, options) : to_text(report, options));
  const bool fine = report.reason.empty() && report.voided.empty() && report.torn == 0;
  return report.done || fine ? kExitOk : kExitNegative;
}

}  // namespace postrider
