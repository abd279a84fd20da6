#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <iostream>
#include <sstream>
#include <thread>

#include "daemon/check/check.h"
#include "daemon/commands/commands.h"
#include "daemon/health.h"
#include "relay/relay.h"

namespace postrider {
namespace {

// Waits for SIGTERM or SIGINT on a thread of its own, so that no handler code runs.
class StopSignals {
 public:
  // Before any other thread starts: they inherit the mask.
  StopSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGUSR2);  // our own, to end the thread
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }
  ~StopSignals() {
    if (!thread_.joinable()) return;
    pthread_kill(thread_.native_handle(), SIGUSR2);
    thread_.join();
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  void watch(Relay& relay) {
    thread_ = std::thread([this, &relay] {
      int number = 0;
      while (sigwait(&set_, &number) == 0 && number != SIGUSR2) {
        spdlog::info("asked to stop; draining");
        relay.request_stop();
      }
    });
    pthread_setname_np(thread_.native_handle(), "pr-signals");
  }

 private:
  sigset_t set_{};
  std::thread thread_;
};

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
  signals.watch(relay);
  std::optional<HealthServer> health;
  if (config.http_listen) {
    health.emplace(*config.http_listen, options.source.name, [&relay] { return relay.status(); });
    spdlog::info("health and metrics on port {}", health->port());
  }
  relay.run();
  const auto status = relay.status();
  spdlog::info("stopped after {} events, newest ordinal {}", status.events_total,
               status.published.ordinal);
  return kExitOk;
}

}  // namespace postrider
