#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "daemon/commands/commands.h"
#include "daemon/commands/stop_signals.h"
#include "readmodel/rebuild.h"

namespace postrider {
namespace {

// One line that is written over on a terminal, a line each elsewhere.
void print(const std::string& readmodel, const RebuildProgress& progress) {
  constexpr double kPercent = 100;
  const double percent = progress.last_ordinal == 0
                             ? kPercent
                             : kPercent * static_cast<double>(progress.ordinal) /
                                   static_cast<double>(progress.last_ordinal);
  char text[160];
  std::snprintf(text, sizeof text, "rebuild %s: %llu of %llu events, %.1f %%, %.0f/s",
                readmodel.c_str(), static_cast<unsigned long long>(progress.ordinal),
                static_cast<unsigned long long>(progress.last_ordinal), percent,
                progress.events_per_second);
  if (isatty(STDOUT_FILENO) != 0)
    std::cout << '\r' << text << "\033[K" << std::flush;
  else
    std::cout << text << std::endl;
}

// Without the schema before them: in a rebuild another schema has the functions.
ReadModelConfig unqualified(ReadModelConfig config) {
  const std::string prefix = config.options.schema + ".";
  for (auto& projection : config.projections)
    if (projection.function.starts_with(prefix)) projection.function.erase(0, prefix.size());
  return config;
}

}  // namespace

int run_rebuild(const Config& config, const std::string& readmodel) {
  const auto& found = find_readmodel(config, readmodel);
  StopSignals signals;
  Rebuild rebuild(with_setup(found), projections_of(unqualified(found)),
                  [&](const RebuildProgress& progress) { print(readmodel, progress); });
  signals.watch([&rebuild] { rebuild.request_stop(); });
  const auto outcome = rebuild.run();
  if (isatty(STDOUT_FILENO) != 0) std::cout << '\n';
  if (!outcome.swapped) {
    std::cout << "rebuild " << readmodel << ": stopped before the swap; run it again to go on\n";
    return kExitNegative;
  }
  std::cout << "rebuild " << readmodel << ": swapped at ordinal " << outcome.ordinal << '\n';
  if (!outcome.applied_by_somebody)
    std::cout << "no process applies it now: start `postrider apply`, or restart the one that "
                 "halted\n";
  return kExitOk;
}

}  // namespace postrider
