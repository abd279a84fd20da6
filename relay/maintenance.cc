#include "relay/maintenance.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>

#include "relay/postgres/source.h"

namespace postrider {
namespace {

// A session starts first.
constexpr std::chrono::milliseconds kFirst{1000};
// Beyond the statement_timeout that Source::maintain sets, which should act first.
constexpr std::chrono::minutes kLongest{11};

SqlWatch::Limits limits() {
  SqlWatch::Limits limits;
  limits.statement = kLongest;
  return limits;
}

}  // namespace

Maintenance::Maintenance(const RelayOptions& options)
    : options_(options), watch_(limits()), thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), "pr-maintenance");
}

Maintenance::~Maintenance() {
  stop_.signal();
  watch_.stop();
  thread_.join();
}

void Maintenance::run() {
  auto wait = std::min(kFirst, options_.maintain_interval);
  while (!stop_.wait_for(wait)) {
    wait = options_.maintain_interval;
    try {
      Source source(options_.source.conninfo, "postrider maintenance " + options_.source.name,
                    &watch_);
      spdlog::debug("outbox maintenance: {}", source.maintain());
    } catch (const std::exception& e) {
      if (!stop_.wait_for(std::chrono::milliseconds{0}))
        spdlog::warn("outbox maintenance failed: {}", e.what());
    }
  }
}

}  // namespace postrider
