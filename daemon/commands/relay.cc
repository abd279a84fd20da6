#include <spdlog/spdlog.h>

#include <chrono>
#include <optional>
#include <set>
#include <string>

#include "daemon/check/check.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/stop_signals.h"
#include "daemon/health.h"
#include "daemon/metrics.h"
#include "relay/relay.h"

namespace postrider {
namespace {

// Refuses what no session would notice. What a session decides itself halts there, with its own
// exit code.
class Preflight {
 public:
  explicit Preflight(const RelayOptions& options) : options_(options) {}

  // Throws kPreflight; or, for a server that does not answer, a transient error.
  void run() {
    std::string context;
    std::string remedy;
    std::optional<Failure> away;
    for (const auto& line : check_all(options_)) {
      const auto text = line.subject + ": " + line.found;
      if (line.unreachable)
        away.emplace(line.subject == "PostgreSQL" ? ErrorKind::kPostgresUnavailable
                                                  : ErrorKind::kBrokerUnavailable,
                     "the preflight cannot be completed: " + text);
      if (line.level == CheckLevel::kWarn && said_.insert(text).second)
        spdlog::warn("check: {}", text);
      if (line.level != CheckLevel::kFail || line.session_decides) continue;
      context += (context.empty() ? "" : "; ") + text;
      remedy += (remedy.empty() ? "" : "; ") + line.remedy;
    }
    if (!context.empty()) throw Failure(ErrorKind::kPreflight, context, remedy);
    if (away) throw Failure(*away);
  }

  // At start, also for a relay that will stand by and open no session for long. A server that is
  // away is waited for: run() follows before the first session.
  void run_early() {
    try {
      run();
    } catch (const Failure& failure) {
      if (info(failure.error().kind).disposition == Disposition::kHalt) throw;
      spdlog::warn("{}; it runs again before the first session", failure.error().context);
    }
  }

 private:
  const RelayOptions& options_;
  std::set<std::string> said_;  // warnings are worth one line a process
};

std::int64_t wall_clock_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

HealthProbe probe_of(const Relay& relay, const std::string& source) {
  return {.readiness =
              [&relay] {
                const auto status = relay.status();
                std::string text = to_string(status.state);
                if (status.stalled) text += ": stalled: " + status.stall;
                if (!status.standbys_behind.empty())
                  text += ": waits for standbys: " + status.standbys_behind;
                if (!status.blocked.empty()) text += ": " + status.blocked;
                if (!status.error_kind.empty()) text += ": " + status.error_kind;
                return HealthProbe::Readiness{status.ready(), text + "\n"};
              },
          .metrics = [&relay,
                      source] { return metrics_text(source, relay.status(), wall_clock_us()); }};
}

}  // namespace

int run_relay(const Config& config, bool until_caught_up) {
  StopSignals signals;
  StopSignals::ignore_hangup();
  RelayOptions options = config.relay;
  options.until_caught_up = until_caught_up;
  Preflight preflight(options);
  preflight.run_early();
  Relay relay(options, [&preflight] { preflight.run(); });
  const auto watch = signals.watch([&relay] {
    spdlog::info("asked to stop; draining");
    relay.request_stop();
  });
  std::optional<HealthServer> health;
  if (config.http_listen) {
    health.emplace(*config.http_listen, probe_of(relay, options.source.name));
    spdlog::info("health and metrics on port {}", health->port());
  }
  const bool done = relay.run();
  const auto status = relay.status();
  spdlog::info("stopped after {} events, newest ordinal {}{}", status.events_total,
               status.published.ordinal, done ? "" : ", before it was caught up");
  return done ? kExitOk : kExitTemporary;
}

}  // namespace postrider
