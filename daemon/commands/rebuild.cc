#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "daemon/commands/commands.h"
#include "daemon/commands/stop_signals.h"
#include "readmodel/postgres/rebuild_schema.h"
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

// Without the schema before functions, and with the schema in which a rebuild makes its tables.
ReadModelConfig for_rebuild(ReadModelConfig config) {
  const std::string prefix = config.options.schema + ".";
  for (auto& projection : config.projections)
    if (projection.function.starts_with(prefix)) projection.function.erase(0, prefix.size());
  // The rebuild's replicas grow in its own schema; one elsewhere would be written by both.
  for (auto& rule : config.replicas.rules) {
    if (rule.schema != config.options.schema)
      throw Failure(ErrorKind::kConfiguration,
                    "read model " + config.options.name + " has replicas in schema \"" +
                        rule.schema + "\", which a rebuild does not replace",
                    "take replica.schema away, or make it the read model's");
    rule.schema = rebuild_options(config.options).schema;
  }
  return config;
}

}  // namespace

int run_rebuild(const Config& config, const std::string& readmodel) {
  const auto& found = find_readmodel(config, readmodel);
  StopSignals signals;
  Rebuild rebuild(with_setup(found), projections_of(for_rebuild(found)),
                  [&](const RebuildProgress& progress) { print(readmodel, progress); });
  const auto watch = signals.watch([&rebuild] { rebuild.request_stop(); });
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
