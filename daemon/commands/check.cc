#include <iostream>

#include "daemon/check/check.h"
#include "daemon/commands/commands.h"

namespace postrider {

int run_check(const Config& config) {
  return print_checks(check_all(config.relay), std::cout) ? kExitOk : kExitNegative;
}

}  // namespace postrider
