#include <iostream>
#include <memory>
#include <string_view>

#include "daemon/commands/commands.h"
#include "readmodel/postgres/decision.h"
#include "readmodel/postgres/parked.h"

namespace postrider {
namespace {

std::vector<std::shared_ptr<SqlProjection>> sql_projections(const ReadModelConfig& config) {
  std::vector<std::shared_ptr<SqlProjection>> projections;
  for (const auto& projection : config.projections)
    projections.push_back(
        std::make_shared<SqlProjection>(projection.subjects, projection.function));
  return projections;
}

}  // namespace

int run_apply_decision(const Config& config, const std::string& readmodel,
                       const std::string& decision, std::optional<std::uint64_t> ordinal) {
  constexpr std::string_view kRebuild = "/rebuild";
  const bool rebuild = readmodel.ends_with(kRebuild);
  const auto& options =
      find_readmodel(config,
                     readmodel.substr(0, readmodel.size() - (rebuild ? kRebuild.size() : 0)))
          .options;
  const auto stop = decide_stop(options.target_conninfo, readmodel, decision, ordinal);
  if (!stop) {
    std::cout << "read model " << readmodel << " is not stopped: there is nothing to " << decision
              << '\n';
    return kExitNegative;
  }
  if (stop->decision.empty())
    throw Failure(ErrorKind::kConfiguration,
                  "read model " + readmodel + " is stopped at ordinal " +
                      std::to_string(stop->first_ordinal) + ", not at " + std::to_string(*ordinal),
                  "look at what it refuses there (`postrider status`), and give that ordinal");
  std::cout << decision << "  read model " << readmodel << ", ordinal " << stop->first_ordinal
            << " at " << stop->position << ": " << stop->projection << ": " << stop->error
            << (rebuild ? "\nrun the rebuild again, and it is carried out\n"
                        : "\nthe applier carries it out within a second, or when it is started\n");
  return kExitOk;
}

int run_parked_decision(const Config& config, const std::string& readmodel,
                        const std::string& decision, std::optional<std::uint64_t> ordinal) {
  const auto& found = find_readmodel(config, readmodel);
  const auto parked = parked_ordinals(found.options);
  if (!ordinal && decision == "skip") {
    std::string ordinals;
    for (const auto each : parked) ordinals += " " + std::to_string(each);
    throw Failure(ErrorKind::kConfiguration, "skip --parked discards one transaction at a time",
                  "give its first ordinal; parked are:" + (ordinals.empty() ? " none" : ordinals));
  }
  const auto projections = sql_projections(found);
  int done = 0;
  for (const auto each : ordinal ? std::vector{*ordinal} : parked) {
    const bool there = decision == "skip"
                           ? skip_parked(found.options, each)
                           : retry_parked(found.options, projections, found.replicas, each);
    if (!there) continue;
    std::cout << decision << "  read model " << readmodel << ", parked ordinal " << each << '\n';
    ++done;
  }
  if (done > 0) return kExitOk;
  std::cout << "read model " << readmodel << ": nothing is parked"
            << (ordinal ? " at ordinal " + std::to_string(*ordinal) : "") << '\n';
  return kExitNegative;
}

}  // namespace postrider
