#include <algorithm>
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
  options.void_more = command.void_more;
  options.resend = command.resend;
  const auto report = repair(options);
  std::cout << (command.json ? to_json(report, options) : to_text(report, options));
  const bool fine =
      report.reason.empty() && report.missing.empty() && report.mark != MarkCheck::kTooLong;
  const bool whole =
      report.uncertain == 0 &&
      std::ranges::all_of(report.backfills, [](const auto& b) { return b.problem.empty(); });
  return fine || (report.done && whole) ? kExitOk : kExitNegative;
}

}  // namespace postrider
