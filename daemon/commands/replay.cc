#include "daemon/replay/replay.h"

#include <iostream>

#include "daemon/commands/commands.h"
#include "daemon/commands/stop_signals.h"

namespace postrider {

int run_replay(const Config& config, const ReplayOptions& options) {
  StopSignals signals;
  std::atomic<bool> stop{false};
  const auto watch = signals.watch([&] { stop = true; });
  Replay replay(config.relay, options);
  const auto result = replay.run(stop);
  std::cout << (options.dry_run ? "would publish " : "published ") << result.taken << " messages";
  if (options.dry_run) std::cout << ", " << result.bytes << " bytes";
  if (result.first_ordinal)
    std::cout << ", ordinals " << *result.first_ordinal << " to " << *result.last_ordinal;
  std::cout << ", to stream " << options.to_stream;
  if (result.there_already > 0) std::cout << ", which held " << result.there_already << " before";
  std::cout << '\n';
  if (result.voids > 0)
    std::cout << result.voids << " ordinals within the range are not in the source's stream\n";
  if (result.complete) return kExitOk;
  std::cout << "stopped before the end: the same command goes on\n";
  return kExitTemporary;
}

}  // namespace postrider
