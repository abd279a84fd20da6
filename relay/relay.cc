#include "relay/relay.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <random>
#include <utility>

#include "relay/backfill/backfills.h"
#include "relay/postgres/source.h"
#include "relay/session.h"

namespace postrider {
namespace {

constexpr milliseconds kFirstBackoff{100};
constexpr milliseconds kLongestBackoff{5000};
constexpr milliseconds kHeldStatusInterval{1000};
constexpr milliseconds kStandbyPoll{50};
constexpr milliseconds kStreamingWait{1000};

}  // namespace

const char* to_string(RelayState state) {
  switch (state) {
    case RelayState::kStarting:
      return "starting";
    case RelayState::kStandby:
      return "standby";
    case RelayState::kRunning:
      return "running";
    case RelayState::kWaiting:
      return "waiting";
    case RelayState::kDraining:
      return "draining";
    case RelayState::kHalted:
      return "halted";
    case RelayState::kStopped:
      return "stopped";
  }
  return "?";
}

Relay::Relay(RelayOptions options, std::function<void()> preflight)
    : options_(std::move(options)), preflight_(std::move(preflight)) {}
Relay::~Relay() = default;

void Relay::request_stop() noexcept {
  stop_ = true;
  sql_watch_.stop();
  wake_.signal();
}

bool Relay::run() {
  while (!stop_) {
    try {
      if (run_session()) break;
    } catch (const Failure& failure) {
      note_failure(failure.error());
      if (info(failure.error().kind).disposition == Disposition::kHalt) throw;
      back_off();
    }
  }
  board_.update([](RelayStatus& status) { status.state = RelayState::kStopped; });
  return caught_up_ || !options_.until_caught_up;
}

bool Relay::run_session() {
  if (!ownership_ || !ownership_->held()) {
    held_ = {};
    maintenance_.reset();
    ownership_.reset();
    auto ownership = std::make_unique<Ownership>(options_, wake_, sql_watch_, board_);
    const bool acquired = ownership->acquire(
        [this] { return stop_.load(); }, [this](const std::string& blocked) { stand_by(blocked); });
    if (!acquired) return true;
    // Ready as a standby, and as an owner only once a session runs. What an earlier session of ours
    // failed of stays what is shown until then.
    board_.update([](RelayStatus& status) {
      status.blocked.clear();
      if (status.state == RelayState::kStandby) status.state = RelayState::kStarting;
    });
    ownership_ = std::move(ownership);
    maintenance_ = std::make_unique<Maintenance>(options_);
    preflight_due_ = true;  // the server may be another, or have other settings
    spdlog::info("owner of source {}", options_.source.name);
  }
  // The broker first: until it answers, a held replication connection stays as it is.
  auto broker = connect_broker(options_);
  keep_held_wal_alive();
  // Proves that JetStream answers, not only NATS. The answer itself is read again when the slot is
  // ours.
  (void)broker.client->stream_info(options_.stream.name);
  if (preflight_due_ && preflight_) preflight_();
  preflight_due_ = false;
  held_ = {};
  auto opened = open_session(
      options_, std::move(broker), sql_watch_,
      [this](Source& source) { ownership_->require_held(source); },
      [this](OpenSession& open) { return await_standbys(open); });
  if (!opened) return true;
  OpenSession& open = *opened;
  spdlog::info("session {} starts after ordinal {} ({}) at WAL {}, epoch {}{}",
               open.checkpoint.session, open.start.mark.ordinal,
               open.start.mark.names_message() ? open.start.mark.position.to_string() : "none",
               open.start.start_lsn.is_none() ? open.slot_confirmed.to_string()
                                              : open.start.start_lsn.to_string(),
               open.epochs.newest().number, open.batches ? ", in fast-ingest batches" : "");
  if (open.start.tail_gone && open.stream.messages > 0)
    spdlog::warn(
        "message {}, the stream's newest, cannot be read: it was deleted, or its "
        "file is damaged; read models stop there, and `postrider verify stream` looks for "
        "more of them",
        open.stream.last_seq);
  note_republication(published_ordinal_, open.start.mark.ordinal + open.start.skip);
  const auto number = open.checkpoint.session;
  const auto last_seq = open.stream.last_seq;
  const auto timeline = open.history.current();
  const bool failover = open.slot_failover;
  Backfills backfills(options_, timeline, board_);
  Session session(options_, std::move(open),
                  {wake_, [this] { return stop_.load(); }, [this] { return ownership_->held(); },
                   pending_since_, &backfills},
                  board_);
  const auto began = std::chrono::steady_clock::now();
  try {
    session.run();
    caught_up_ = session.caught_up();
    return true;
  } catch (const Failure& failure) {
    if (failure.error().kind == ErrorKind::kForeignMessage)
      Source(options_.source.conninfo, "postrider " + options_.source.name)
          .note_foreign(options_.source.name, number, last_seq);
    published_ordinal_ = session.published_ordinal();
    pending_since_ = session.pending_since();
    // One that had nothing to do has worked, too, if it lasted: an idle source's failures are not
    // one failure, however alike. What ends as soon as it begins is still waited for longer each
    // time.
    const bool lasted = std::chrono::steady_clock::now() - began > kLongestBackoff;
    if (session.made_progress() || (session.was_idle() && lasted)) failures_in_a_row_ = 0;
    held_ = {session.release_wal(), session.received(), session.confirmed(), failover};
    throw;
  }
}

// A connection that streams already is neither read, what comes belongs to the session, nor told
// that we live: the walsender would answer each report with a warning that nobody reads
// (docs/adr/0013).
bool Relay::await_standbys(OpenSession& open) {
  const Lsn row_end = open.source.flush_lsn();
  const auto let_go =
      std::chrono::steady_clock::now() + std::min(kStreamingWait, options_.wal_sender_timeout / 4);
  std::string said;
  while (!stop_) {
    const auto behind = open.source.standbys_behind(row_end);
    if (behind.empty()) return true;
    if (!ownership_->held())
      throw Failure(ErrorKind::kPostgresUnavailable, "lost the ownership while waiting");
    if (said != behind) {
      said = behind;
      const auto what = "standby slots that synchronized_standby_slots names have not received " +
                        row_end.to_string() + ": " + behind;
      spdlog::info("waiting: {}", what);
      board_.update([&](RelayStatus& status) {
        status.state = RelayState::kWaiting;
        status.error = what;
        status.error_kind.clear();
      });
    }
    if (open.wal->streaming() && std::chrono::steady_clock::now() >= let_go)
      throw Failure(ErrorKind::kPostgresUnavailable,
                    "the standby slots that synchronized_standby_slots names have not received "
                    "the new epoch: the next session waits for them without holding the slot");
    if (wake_.wait_for(kStandbyPoll)) wake_.clear();
  }
  return false;
}

// Whatever went wrong while the source was ours is the new owner's to show.
void Relay::stand_by(const std::string& blocked) {
  pending_since_.reset();
  board_.update([&](RelayStatus& status) {
    status.state = RelayState::kStandby;
    status.blocked = blocked;
    status.error.clear();
    status.error_kind.clear();
    status.stalled = false;
    status.stall.clear();
  });
}

void Relay::note_republication(std::uint64_t published_before, std::uint64_t mark_ordinal) {
  if (mark_ordinal >= published_before) return;
  const std::uint64_t lost = published_before - mark_ordinal;
  spdlog::warn("the broker lost {} acknowledged messages after ordinal {}; publishing them again",
               lost, mark_ordinal);
  board_.update([&](RelayStatus& status) { status.republished_total += lost; });
}

void Relay::note_failure(const Error& error) {
  const auto& kind = info(error.kind);
  const bool halt = kind.disposition == Disposition::kHalt;
  // Said once, not once a retry.
  const bool repeated = failures_in_a_row_ > 0 && error.kind == last_error_.kind &&
                        error.context == last_error_.context;
  if (halt)
    spdlog::critical("halted, exit code {}: {}", kind.exit_code, error.to_string());
  else if (!repeated)
    spdlog::warn("session ended: {}", error.to_string());
  // Only of a broker that is there and does not take what it is sent.
  if (error.kind != ErrorKind::kPublishInDoubt && error.kind != ErrorKind::kBrokerRefuses)
    pending_since_.reset();
  last_error_ = error;
  board_.update([&](RelayStatus& status) {
    status.state = halt ? RelayState::kHalted : RelayState::kWaiting;
    status.error = error.context;
    status.error_kind = kind.name;
  });
}

void Relay::back_off() {
  // The connection to a server that failed is no use; one to a healthy server keeps the slot.
  if (last_error_.kind == ErrorKind::kPostgresUnavailable ||
      last_error_.kind == ErrorKind::kSessionFenced)
    held_ = {};
  const auto ceiling =
      std::min(kLongestBackoff, kFirstBackoff * (1 << std::min(failures_in_a_row_, 6)));
  ++failures_in_a_row_;
  thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_int_distribution<std::int64_t> jitter(ceiling.count() / 2, ceiling.count());
  const auto until = std::chrono::steady_clock::now() + milliseconds(jitter(random));
  while (!stop_) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return;
    if (wake_.wait_for(std::min(left, kHeldStatusInterval))) wake_.clear();
    // A server in fast shutdown ends the lock's connection first: let go at once, or it waits for
    // us.
    if (ownership_ && !ownership_->held()) held_ = {};
    keep_held_wal_alive();
  }
}

void Relay::keep_held_wal_alive() {
  if (!held_.connection) return;
  // The walsender would warn of it at each report while it holds a lock over all slots, on a
  // connection that nobody reads (docs/adr/0013).
  if (held_.failover && !board_.read().standbys_behind.empty()) {
    spdlog::info("letting go of the slot until the standbys have caught up");
    held_ = {};
    return;
  }
  try {
    held_.connection->send_status(held_.received, held_.confirmed, false);
  } catch (const Failure&) {
    held_ = {};
  }
}

}  // namespace postrider
