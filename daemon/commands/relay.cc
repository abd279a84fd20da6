#include <spdlog/spdlog.h>

#include <chrono>
#include <optional>
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
// exit code, and what cannot be reached now is waited for.
void preflight(const Config& config) {
  std::string context;
  std::string remedy;
  for (const auto& line : check_all(config.relay)) {
    if (line.level == CheckLevel::kWarn) spdlog::warn("check: {}: {}", line.subject, line.found);
    if (line.level != CheckLevel::kFail || line.session_decides) continue;
    context += (context.empty() ? "" : "; ") + line.subject + ": " + line.found;
    remedy += (remedy.empty() ? "" : "; ") + line.remedy;
  }
  if (!context.empty()) throw Failure(ErrorKind::kPreflight, context, remedy);
}

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
                if (!status.error_kind.empty()) text += ": " + status.error_kind;
                return HealthProbe::Readiness{status.ready(), text + "\n"};
              },
          .metrics = [&relay,
                      source] { return metrics_text(source, relay.status(), wall_clock_us()); }};
}

}  // namespace

int run_relay(const Config& config, bool until_caught_up) {
  StopSignals signals;
  preflight(config);
  RelayOptions options = config.relay;
  options.until_caught_up = until_caught_up;
  Relay relay(options);
  signals.watch([&relay] {
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
