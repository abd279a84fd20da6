#include <algorithm>
#include <chrono>
#include <iostream>

#include "daemon/commands/commands.h"
#include "daemon/verify/print_readmodel.h"
#include "daemon/verify/print_stream.h"
#include "readmodel/verify/replica_comparisons.h"

namespace postrider {
namespace {

// What a server that is away, or busy, makes impossible is no verdict. What only a person can mend
// keeps its exit code.
template <class Verdict, class Work>
Verdict verdict_of(Work work) {
  try {
    return work();
  } catch (const Failure& failure) {
    if (info(failure.error().kind).disposition == Disposition::kHalt) throw;
    Verdict verdict;
    verdict.could_not_say = failure.error().to_string();
    return verdict;
  }
}

template <class Verdict>
int exit_code(const Verdict& verdict) {
  if (verdict.differs()) return kExitNegative;
  return verdict.could_not_say.empty() ? kExitOk : kExitCouldNotSay;
}

}  // namespace

namespace {

// The user's, and one for each replica table that the user names none for.
std::vector<Comparison> comparisons_of(const ReadModelConfig& readmodel) {
  auto comparisons = readmodel.comparisons;
  if (readmodel.replicas.rules.empty()) return comparisons;
  for (auto& replica : replica_comparisons(readmodel.replicas, readmodel.options.target_conninfo)) {
    const bool named = std::ranges::any_of(
        readmodel.comparisons, [&](const auto& given) { return given.name == replica.name; });
    if (!named) comparisons.push_back(std::move(replica));
  }
  return comparisons;
}

}  // namespace

int run_verify_readmodel(const Config& config, const VerifyOptions& options) {
  const auto& readmodel = find_readmodel(config, options.readmodel);
  if (readmodel.options.source != config.relay.source.name)
    throw Failure(ErrorKind::kConfiguration,
                  "read model \"" + options.readmodel + "\" is of source \"" +
                      readmodel.options.source + "\", this file's is \"" +
                      config.relay.source.name + "\"",
                  "verify it with a file whose [source] is that one");
  const auto comparisons = comparisons_of(readmodel);
  for (const auto& comparison : comparisons)
    if (!comparison.problem.empty())
      throw Failure(ErrorKind::kConfiguration, comparison.name + ": " + comparison.problem,
                    "name in a [[verify]] of that name what must be equal: docs/readmodels.md, "
                    "\"Verify\"");
  if (comparisons.empty())
    throw Failure(ErrorKind::kConfiguration,
                  "read model \"" + options.readmodel +
                      "\" has no [[verify]], and no replica "
                      "with a table on both sides",
                  "add one that names a query on each side: docs/readmodels.md, \"Verify\"");
  VerifyReadModelOptions verify;
  verify.readmodel = options.readmodel;
  verify.source_conninfo = config.verify_conninfo.value_or(config.relay.source.conninfo);
  verify.target_conninfo = readmodel.options.target_conninfo;
  verify.schema = readmodel.options.schema;
  verify.timeout = std::chrono::seconds(options.timeout_seconds);
  verify.limit = options.limit;
  const auto verdict =
      verdict_of<ReadModelVerdict>([&] { return verify_readmodel(verify, comparisons); });
  const VerifiedNames names{options.readmodel, readmodel.options.source};
  std::cout << (options.json ? to_json(verdict, names) + "\n" : to_text(verdict, names));
  return exit_code(verdict);
}

int run_verify_stream(const Config& config, const VerifyOptions& options) {
  VerifyStreamOptions verify;
  verify.relay = config.relay;
  verify.source_conninfo = config.verify_conninfo.value_or(config.relay.source.conninfo);
  verify.timeout = std::chrono::seconds(options.timeout_seconds);
  verify.limit = options.limit;
  const auto verdict = verdict_of<StreamVerdict>([&] { return verify_stream(verify); });
  const StreamNames names{config.relay.stream.name, config.relay.source.name};
  std::cout << (options.json ? to_json(verdict, names) + "\n" : to_text(verdict, names));
  return exit_code(verdict);
}

}  // namespace postrider
