#include <iostream>

#include "daemon/commands/commands.h"
#include "daemon/status/status_report.h"

namespace postrider {

int run_status(const Config& config, bool json) {
  StatusReport report = collect_status(config.relay);
  report.readmodels = collect_readmodels(config.readmodels);
  std::cout << (json ? to_json(report) + "\n" : to_text(report));
  return report.healthy() ? kExitOk : kExitNegative;
}

}  // namespace postrider
