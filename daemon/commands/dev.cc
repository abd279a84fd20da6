#include <iostream>

#include "daemon/commands/commands.h"
#include "dev/environment.h"

namespace postrider {

int run_dev(DevCommand command, const std::string& folder, bool remove) {
  try {
    dev::Environment environment(folder);
    switch (command) {
      case DevCommand::kUp:
        environment.up(std::cout);
        return kExitOk;
      case DevCommand::kDown:
        environment.down(remove, std::cout);
        return kExitOk;
      case DevCommand::kStatus:
        return environment.status(std::cout) ? kExitOk : kExitNegative;
    }
  } catch (const std::runtime_error& error) {
    std::cerr << "postrider: dev: " << error.what() << '\n';
  }
  return kExitNegative;
}

}  // namespace postrider
