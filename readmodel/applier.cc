#include "readmodel/applier.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <random>
#include <utility>

#include "base/failpoint.h"
#include "migrations/migrations.h"
#include "readmodel/postgres/rebuild_schema.h"
#include "readmodel/postgres/setup.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnectTimeout{2000};
constexpr milliseconds kStandbyPoll{500};

}  // namespace

const char* to_string(ReadModelState state) {
  switch (state) {
    case ReadModelState::kStarting:
      return "starting";
    case ReadModelState::kStandby:
      return "standby";
    case ReadModelState::kRunning:
      return "running";
    case ReadModelState::kWaiting:
      return "waiting";
    case ReadModelState::kStopped:
      return "stopped";
    case ReadModelState::kHalted:
      return "halted";
    case ReadModelState::kEnded:
      return "ended";
  }
  return "?";
}

Applier::Applier(ReadModelOptions options, Projections projections)
    : options_(std::move(options)), projections_(std::move(projections)) {
  board_.update([&](ReadModelStatus& status) { status.name = options_.name; });
}

ReadModelStatus Applier::status(ReadModelStatus::Time now) const {
  auto status = board_.read(now);
  for (const auto& projection : projections_) projection->add_to(status);
  return status;
}

void Applier::request_stop() noexcept {
  stop_ = true;
  wake_.signal();
}

void Applier::run() {
  while (!stop_ && !run_session()) back_off();
  board_.update([](ReadModelStatus& status) { status.state = ReadModelState::kEnded; });
}

bool Applier::run_session() {
  board_.update([](ReadModelStatus& status) { ++status.sessions_total; });
  bool progressed = false;
  try {
    Target target({options_.target_conninfo, options_.name, options_.source, options_.stream,
                   options_.schema});
    target.require_schema(latest_readmodel_schema_version());
    if (!own(target)) return true;
    set_up(target.connection(), options_);
    if (!options_.setup_sql.empty() && !drop_old_schema(target.connection(), options_.schema))
      spdlog::info("read model {}: tables that a rebuild replaced are still in use", options_.name);
    StreamFeed feed(options_.nats, "postrider apply " + options_.name, kConnectTimeout,
                    coverage_subject(options_.source));
    ApplySession session(options_, projections_, target, feed,
                         {wake_, [this] { return stop_.load(); }}, board_);
    try {
      session.run();
    } catch (...) {
      progressed = session.made_progress();
      throw;
    }
    return true;
  } catch (const Failure& failure) {
    if (progressed) failures_in_a_row_ = 0;
    note_failure(failure.error());
  } catch (const pqxx::failure& e) {
    // A BEGIN or COMMIT outside of a batch: the connection, or trouble that passes. The cursor says
    // what became of it.
    note_failure({ErrorKind::kPostgresUnavailable, e.what(), ""});
  } catch (const std::exception& e) {
    note_failure({ErrorKind::kInternal, e.what(), "report it, with the log"});
  }
  return false;
}

bool Applier::own(Target& target) {
  bool announced = false;
  POSTRIDER_FAILPOINT("apply.before_lock");
  while (!target.try_lock()) {
    if (!std::exchange(announced, true)) {
      spdlog::info("read model {}: standing by, another process applies it", options_.name);
      board_.update([](ReadModelStatus& status) { status.waits(ReadModelState::kStandby); });
    }
    if (target.end_dead_holder(options_.takeover_after))
      spdlog::warn("read model {}: taking over, its applier has shown no life for {} ms",
                   options_.name, options_.takeover_after.count());
    (void)wake_.wait_for(kStandbyPoll);
    if (stop_) return false;
  }
  if (announced) board_.update([](ReadModelStatus& status) { status.begins(); });
  return true;
}

void Applier::note_failure(const Error& error) {
  const auto& kind = info(error.kind);
  // A stop is in the database: the next session waits there for a person's decision.
  const bool halts = kind.disposition == Disposition::kHalt &&
                     (error.kind != ErrorKind::kPoisonEvent || options_.until_caught_up);
  board_.update([&](ReadModelStatus& status) {
    status.state = halts ? ReadModelState::kHalted : ReadModelState::kWaiting;
    status.error = error.to_string();
    status.error_kind = kind.name;
  });
  if (halts) throw Failure(error);
  ++failures_in_a_row_;
  spdlog::warn("read model {}: {}", options_.name, error.to_string());
}

void Applier::back_off() {
  const int doublings = std::min(failures_in_a_row_ - 1, 10);
  const auto longest = std::min(options_.max_backoff, options_.backoff * (1 << doublings));
  // Jitter, so that read models of one database do not knock at the same moment.
  thread_local std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<std::int64_t> jitter(longest.count() / 2, longest.count());
  (void)wake_.wait_for(milliseconds(jitter(random)));
}

}  // namespace postrider
