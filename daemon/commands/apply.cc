#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "daemon/commands/commands.h"
#include "daemon/commands/stop_signals.h"
#include "daemon/health.h"
#include "daemon/readmodel_metrics.h"
#include "readmodel/applier.h"
#include "readmodel/postgres/replica_projection.h"
#include "readmodel/postgres/sql_projection.h"

namespace postrider {
namespace {

std::int64_t wall_clock_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Threads that apply one read model each. One that halts leaves the others going; the process ends
// when none is left.
class Appliers {
 public:
  void add(const ReadModelConfig& config, bool until_caught_up) {
    ReadModelOptions options = with_setup(config);
    options.until_caught_up = until_caught_up;
    appliers_.push_back(std::make_unique<Applier>(std::move(options), projections_of(config)));
  }

  void run() {
    for (auto& applier : appliers_) {
      threads_.emplace_back([this, &applier] { run(*applier); });
      const std::string name = "pr-" + applier->status().name;
      constexpr std::size_t kMostCharacters = 15;  // of a thread's name on Linux
      pthread_setname_np(threads_.back().native_handle(), name.substr(0, kMostCharacters).c_str());
    }
    for (auto& thread : threads_) thread.join();
  }

  void request_stop() {
    for (auto& applier : appliers_) applier->request_stop();
  }

  [[nodiscard]] std::vector<ReadModelStatus> statuses() const {
    std::vector<ReadModelStatus> all;
    for (const auto& applier : appliers_) all.push_back(applier->status());
    return all;
  }

  // The first halt, if any.
  [[nodiscard]] std::optional<Error> error() const {
    const std::lock_guard lock(mutex_);
    return error_;
  }

 private:
  void run(Applier& applier) {
    std::optional<Error> error;
    try {
      applier.run();
    } catch (const Failure& failure) {
      error = failure.error();
    } catch (const std::exception& e) {
      error = Error{ErrorKind::kInternal, e.what(), ""};
    }
    if (!error) return;
    spdlog::critical("read model {} halted: {}", applier.status().name, error->to_string());
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }

  std::vector<std::unique_ptr<Applier>> appliers_;
  std::vector<std::thread> threads_;
  mutable std::mutex mutex_;
  std::optional<Error> error_;
};

HealthProbe probe_of(const Appliers& appliers) {
  return {.readiness =
              [&appliers] {
                HealthProbe::Readiness readiness{true, ""};
                for (const auto& status : appliers.statuses()) {
                  readiness.ready = readiness.ready && status.ready();
                  readiness.text += status.name + ": " + to_string(status.state);
                  if (status.stalled) readiness.text += ": stalled: nothing is committed";
                  if (status.nears_stream_start) readiness.text += ": nears the stream's start";
                  if (!status.error_kind.empty()) readiness.text += ": " + status.error_kind;
                  readiness.text += "\n";
                }
                return readiness;
              },
          .metrics =
              [&appliers] { return readmodel_metrics_text(appliers.statuses(), wall_clock_us()); }};
}

}  // namespace

Projections projections_of(const ReadModelConfig& config) {
  Projections projections;
  for (const auto& projection : config.projections)
    projections.push_back(
        std::make_shared<SqlProjection>(projection.subjects, projection.function));
  // Last, all of them in one: rows of one replica may refer to rows of another.
  if (!config.replicas.rules.empty())
    projections.push_back(std::make_shared<ReplicaProjection>(config.replicas));
  return projections;
}

const ReadModelConfig& find_readmodel(const Config& config, const std::string& name) {
  const auto found =
      std::ranges::find(config.readmodels, name, [](const auto& r) { return r.options.name; });
  if (found != config.readmodels.end()) return *found;
  std::string names;
  for (const auto& readmodel : config.readmodels)
    names += (names.empty() ? "" : ", ") + readmodel.options.name;
  throw Failure(
      ErrorKind::kConfiguration, "there is no read model \"" + name + "\"",
      names.empty() ? "the configuration has no [[readmodel]]" : "the configuration has: " + names);
}

int run_apply(const Config& config, const ApplyOptions& options) {
  if (config.readmodels.empty())
    throw Failure(ErrorKind::kConfiguration, "the configuration has no [[readmodel]]",
                  "add one, and a [[projection]] for it: docs/readmodels.md");
  StopSignals signals;
  StopSignals::ignore_hangup();
  Appliers appliers;
  for (const auto& readmodel : config.readmodels)
    if (options.only.empty() ||
        std::ranges::find(options.only, readmodel.options.name) != options.only.end())
      appliers.add(readmodel, options.until_caught_up);
  for (const auto& name : options.only) (void)find_readmodel(config, name);
  const auto watch = signals.watch([&appliers] {
    spdlog::info("asked to stop");
    appliers.request_stop();
  });
  std::optional<HealthServer> health;
  if (config.http_listen) {
    health.emplace(*config.http_listen, probe_of(appliers));
    spdlog::info("health and metrics on port {}", health->port());
  }
  appliers.run();
  for (const auto& status : appliers.statuses())
    spdlog::info("read model {}: ended at ordinal {} after {} events", status.name,
                 status.cursor.ordinal, status.events_total);
  if (const auto error = appliers.error()) throw Failure(*error);
  return kExitOk;
}

}  // namespace postrider
