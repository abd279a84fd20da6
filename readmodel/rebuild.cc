#include "readmodel/rebuild.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "base/postgres/conninfo.h"
#include "migrations/migrations.h"
#include "readmodel/postgres/live_tables_guard.h"
#include "readmodel/postgres/rebuild_schema.h"
#include "readmodel/postgres/translate.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kConnectTimeout{2000};
constexpr milliseconds kPoll{500};
constexpr milliseconds kReport{1000};
constexpr milliseconds kBackoff{1000};
// The live applier waits while the rest is caught up. A lap that takes less is worth the attempt.
constexpr milliseconds kLongestHold{5000};
constexpr milliseconds kLastLap{1000};
// The swap ends the live applier's session, which lets go of its lock and takes it again.
constexpr milliseconds kApplierReturns{5000};
constexpr milliseconds kReturnPoll{50};
constexpr milliseconds kNoLimit = std::chrono::hours(24 * 365);

Projections guarded(Projections projections, const std::string& live_schema) {
  projections.push_back(std::make_shared<LiveTablesGuard>(live_schema));
  return projections;
}

std::uint64_t ordinal_of(const std::optional<wire::StoredMessage>& message) {
  if (!message) return 0;
  const auto header = wire::position_header(*message);
  return header ? header->ordinal : 0;
}

}  // namespace

Rebuild::Rebuild(ReadModelOptions live, const Projections& projections,
                 std::function<void(const RebuildProgress&)> report)
    : live_(std::move(live)),
      anew_(rebuild_options(live_)),
      projections_(guarded(projections, live_.schema)),
      report_(std::move(report)),
      told_at_(Clock::now()) {}

void Rebuild::request_stop() noexcept {
  stop_ = true;
  wake_.signal();
}

Rebuild::Outcome Rebuild::run() {
  if (live_.setup_sql.empty() || live_.schema == "public")
    throw Failure(ErrorKind::kConfiguration,
                  "read model " + live_.name + " has no setup file and schema of its own",
                  "a rebuild makes the tables a second time: set readmodel.schema and "
                  "readmodel.setup (docs/readmodels.md)");
  if (projections_.size() == 1)  // the guard alone
    throw Failure(ErrorKind::kConfiguration,
                  "read model " + live_.name + " has no projection in SQL",
                  "what a C++ handler makes, its service must build anew");
  while (!stop_) {
    try {
      if (run_session()) break;
    } catch (const Failure& failure) {
      const bool halts = info(failure.error().kind).disposition == Disposition::kHalt;
      if (halts || !owned_) throw;
      spdlog::warn("rebuild of {}: {}", live_.name, failure.error().to_string());
      (void)wake_.wait_for(kBackoff);
    }
  }
  return outcome_;
}

bool Rebuild::run_session() {
  Target target({anew_.target_conninfo, anew_.name, anew_.source, anew_.stream, anew_.schema});
  target.require_schema(latest_readmodel_schema_version());
  own(target);
  if (!outcome_.swapped) {
    const auto generation = generation_of(target.connection(), live_.name);
    if (!std::exchange(owned_, true)) generation_ = generation;
    // A commit that was in doubt when the connection broke.
    outcome_.swapped = generation != generation_;
  }
  if (!outcome_.swapped) begin(target);
  while (!outcome_.swapped && !stop_) {
    const auto start = Clock::now();
    catch_up(target, kNoLimit);
    if (stop_ || Clock::now() - start > kLastLap) continue;
    if (!try_swap(target)) (void)wake_.wait_for(kPoll);
  }
  if (outcome_.swapped) {
    outcome_.applied_by_somebody = applier_returns(target);
    while (!drop_old_schema(target.connection(), live_.schema) && !stop_) {
      if (std::exchange(obstacle_, "old") != "old")
        spdlog::info("rebuild of {}: swapped; the replaced tables are still in use", live_.name);
      (void)wake_.wait_for(kPoll);
    }
  }
  return true;
}

void Rebuild::own(Target& target) {
  // One that was killed is gone within moments; one that is paused is ended like any dead applier.
  const auto deadline = Clock::now() + std::min(live_.takeover_after, kLongestHold) + kPoll;
  while (!target.try_lock()) {
    (void)target.end_dead_holder(live_.takeover_after);
    if (Clock::now() > deadline)
      throw Failure(ErrorKind::kSessionFenced,
                    "another rebuild of read model " + live_.name + " is running");
    (void)wake_.wait_for(kPoll);
  }
}

void Rebuild::begin(Target& target) {
  while (!drop_old_schema(target.connection(), live_.schema)) {
    if (std::exchange(obstacle_, "older") != "older")
      spdlog::info("rebuild of {}: tables that an earlier rebuild replaced are still in use",
                   live_.name);
    (void)wake_.wait_for(kPoll);
    if (stop_) return;
  }
  require_swappable(target.connection(), live_);
  const auto begun = begin_rebuild(target.connection(), live_);
  POSTRIDER_FAILPOINT("rebuild.after_setup");
  const Cursor cursor = target.open();
  StreamFeed feed(live_.nats, "postrider rebuild " + live_.name, kConnectTimeout,
                  coverage_subject(live_.source));
  if (cursor.is_none()) require_stream_start(feed);
  spdlog::info("rebuild of {}: {} ordinal {}", live_.name,
               begun == Begun::kGoesOn ? "goes on behind" : "begins behind", cursor.ordinal);
}

void Rebuild::require_stream_start(StreamFeed& feed) const {
  const auto stream = feed.stream_info(live_.stream);
  std::string why;
  if (!stream) {
    why = "stream \"" + live_.stream + "\" does not exist";
  } else if (stream->messages == 0 && stream->last_seq > 0) {
    why = "stream \"" + live_.stream + "\" no longer holds any of its events";
  } else if (stream->messages > 0) {
    const auto message = feed.message_from(live_.stream, stream->first_seq, live_.source + ".>");
    const auto hole = message ? wire::hole_header(*message) : std::nullopt;
    const auto first = hole ? hole->first : ordinal_of(message);
    if (first != 1)
      why = "stream \"" + live_.stream + "\" begins with ordinal " + std::to_string(first) +
            ", not with 1";
  }
  if (why.empty()) return;
  throw Failure(ErrorKind::kStreamBehind, why + ": it cannot rebuild read model " + live_.name,
                "see docs/readmodels.md, \"Retention\": a read model can only be built from all "
                "events");
}

void Rebuild::catch_up(Target& target, milliseconds longest) {
  StreamFeed feed(live_.nats, "postrider rebuild " + live_.name, kConnectTimeout,
                  coverage_subject(live_.source));
  const auto stream = feed.stream_info(live_.stream);
  if (stream) told_.last_ordinal = ordinal_of(feed.message(live_.stream, stream->last_seq));
  const auto deadline = Clock::now() + longest;
  const auto stop = [&] {
    tell(board_.read().cursor.ordinal);
    return stop_ || Clock::now() > deadline;
  };
  ApplySession session(anew_, projections_, target, feed, {wake_, stop}, board_);
  session.run();
}

bool Rebuild::applier_returns(Target& target) {
  const auto applied = [&] { return is_applied_by_somebody(target.connection(), live_.name); };
  const auto deadline = Clock::now() + kApplierReturns;
  bool there = applied();
  if (!there && was_applied_)
    spdlog::info("rebuild of {}: swapped; waiting for its applier to come back", live_.name);
  while (!there && was_applied_ && !stop_ && Clock::now() < deadline) {
    (void)wake_.wait_for(kReturnPoll);
    there = applied();
  }
  return there;
}

bool Rebuild::try_swap(Target& target) {
  was_applied_ = is_applied_by_somebody(target.connection(), live_.name);
  POSTRIDER_FAILPOINT("rebuild.before_swap");
  const auto connection = translated([&] {
    return std::make_unique<pqxx::connection>(
        with_defaults(live_.target_conninfo, liveness_defaults()));
  });
  sql::forbid_reconnecting(*connection);
  Swap swap(*connection, live_);
  const auto live = swap.hold();
  if (!live) return false;
  catch_up(target, kLongestHold);
  outcome_.ordinal = board_.read().cursor.ordinal;
  std::string obstacle;
  switch (swap.exchange()) {
    case Swap::Outcome::kDone:
      outcome_.swapped = true;
      return true;
    case Swap::Outcome::kBehind:
      obstacle = "the live read model is at ordinal " + std::to_string(*live) +
                 ", beyond the stream's newest message that could be applied: waiting for it";
      break;
    case Swap::Outcome::kOldSnapshots:
      obstacle = "waiting for an older transaction to end: " + swap.whom();
      break;
    case Swap::Outcome::kTablesInUse:
      obstacle = "waiting for " + swap.whom();
      break;
  }
  if (std::exchange(obstacle_, obstacle) != obstacle)
    spdlog::info("rebuild of {}: {}", live_.name, obstacle);
  return false;
}

void Rebuild::tell(std::uint64_t ordinal) {
  const auto now = Clock::now();
  if (now - told_at_ < kReport) return;
  const std::chrono::duration<double> seconds = now - told_at_;
  const auto more = ordinal > told_.ordinal ? ordinal - told_.ordinal : 0;
  told_.events_per_second = static_cast<double>(more) / seconds.count();
  told_.ordinal = ordinal;
  told_.last_ordinal = std::max(told_.last_ordinal, ordinal);
  told_at_ = now;
  report_(told_);
}

}  // namespace postrider
