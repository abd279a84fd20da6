#include <spdlog/spdlog.h>

#include <optional>
#include <string>

#include "daemon/check/check.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/stop_signals.h"
#include "daemon/health.h"
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
    health.emplace(*config.http_listen, options.source.name, [&relay] { return relay.status(); });
    spdlog::info("health and metrics on port {}", health->port());
  }
  const bool done = relay.run();
  const auto status = relay.status();
  spdlog::info("stopped after {} events, newest ordinal {}{}", status.events_total,
               status.published.ordinal, done ? "" : ", before it was caught up");
  return done ? kExitOk : kExitTemporary;
}

}  // namespace postrider
