#include <iostream>

#include "daemon/commands/commands.h"
#include "daemon/status/status_report.h"

namespace postrider {

int run_status(const Config& config, bool json) {
  const StatusReport report = collect_status(config.relay);
  std::cout << (json ? to_json(report) + "\n" : to_text(report));
  return report.problems.empty() ? kExitOk : kExitNegative;
}

}  // namespace postrider
