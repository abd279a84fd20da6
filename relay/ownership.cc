#include "relay/ownership.h"

#include <poll.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "base/postgres/holder_life.h"
#include "relay/postgres/source.h"
#include "relay/status.h"

namespace postrider {
namespace {

constexpr milliseconds kStandbyPoll{250};
constexpr milliseconds kEndedPoll{50};  // its backends are ending: the lock is free in a moment
constexpr milliseconds kReportInterval{3000};
constexpr int kHeartbeatsPerTakeover = 4;

}  // namespace

struct Ownership::Shared {
  std::unique_ptr<Source> source;  // of the heartbeat thread once it runs
  Wake stop;
  std::atomic<bool> held{false};
};

Ownership::Ownership(const RelayOptions& options, const Wake& control, SqlWatch& watch,
                     StatusBoard& board)
    : options_(options),
      control_(control),
      watch_(watch),
      board_(board),
      shared_(std::make_unique<Shared>()) {}

Ownership::~Ownership() {
  shared_->stop.signal();
  if (heartbeat_.joinable()) heartbeat_.join();
}

bool Ownership::held() const {
  return shared_->held;
}

void Ownership::require_held(Source& source) const {
  const auto holder = source.lock_holder(options_.source.name);
  if (holder && holder->pid == backend_pid_) return;
  throw Failure(ErrorKind::kSessionFenced,
                "the lock of source " + options_.source.name + " is held by " +
                    (holder ? "backend " + std::to_string(holder->pid) : "nobody") +
                    ", and no longer by this relay's backend " + std::to_string(backend_pid_));
}

bool Ownership::acquire(const std::function<bool()>& stop,
                        const std::function<void(const std::string& blocked)>& on_standby) {
  auto source = std::make_unique<Source>(options_.source.conninfo,
                                         "postrider lock " + options_.source.name, &watch_);
  // Before anything is done to the slot: ending a dead owner ends the slot's walsender, too.
  if (const auto row = source->read_checkpoint(options_.source.name))
    require_binding(*row, options_.source.slot, options_.source.publication);
  std::optional<std::string> announced;
  HolderLife life;
  while (!source->try_lock(options_.source.name)) {
    const auto asked = std::chrono::steady_clock::now();
    const auto holder = source->lock_holder(options_.source.name);
    // The lock's number is no secret. Somebody else's backend neither carries the source nor can be
    // ended by us: waiting behind it is not standing by.
    const std::string blocked = holder && !holder->ours
                                    ? "the lock of source " + options_.source.name +
                                          " is held by backend " + std::to_string(holder->pid) +
                                          " of role " + holder->role + ", which is not the relay's"
                                    : "";
    if (announced != blocked) {
      if (!blocked.empty())
        spdlog::error("{}; remedy: as an administrator SELECT pg_terminate_backend({})", blocked,
                      holder->pid);
      else
        spdlog::info("standing by: source {} is owned by backend {} from {}", options_.source.name,
                     holder ? holder->pid : 0, holder ? holder->client : "?");
      on_standby(blocked);
      announced = blocked;
    }
    const auto silence = holder ? life.silence(holder->pid, holder->changed, holder->idle_for,
                                               asked, std::chrono::steady_clock::now())
                                : milliseconds{0};
    const bool ended = holder && blocked.empty() && end_dead_holder(*source, *holder, silence);
    // The control wake says that something changed: most of all, that somebody asked to stop.
    if (control_.wait_for(ended ? kEndedPoll : kStandbyPoll)) control_.clear();
    if (stop()) return false;
  }
  backend_pid_ = source->backend_pid();
  shared_->source = std::move(source);
  shared_->held = true;
  heartbeat_ = std::thread([this] { keep_alive(); });
  pthread_setname_np(heartbeat_.native_handle(), "pr-heartbeat");
  return true;
}

bool Ownership::end_dead_holder(Source& source, const LockHolder& holder,
                                std::chrono::milliseconds silence) const {
  // An active backend is working for its relay right now; a paused relay's is idle. Of others, as
  // with track_activities = off, nothing is known.
  if (!holder.state.starts_with("idle") || silence < options_.takeover_after) return false;
  spdlog::warn("taking over source {}: its owner's backend {} has shown no life for {} ms",
               options_.source.name, holder.pid, silence.count());
  if (const auto slot = source.slot(options_.source.slot); slot.active_pid)
    source.terminate(*slot.active_pid);
  source.terminate(holder.pid);
  return true;
}

void Ownership::report_slot() {
  Source& source = *shared_->source;
  const auto slot = source.slot(options_.source.slot);
  // What was flushed a report ago every standby has, unless something is wrong.
  const Lsn flushed_before = std::exchange(flushed_, source.flush_lsn());
  const std::string behind =
      slot.failover && !flushed_before.is_none() ? source.standbys_behind(flushed_before) : "";
  if (behind != standbys_behind_) {
    if (behind.empty())
      spdlog::info("the standbys in synchronized_standby_slots have caught up");
    else
      spdlog::warn("nothing is published before the standbys in synchronized_standby_slots have it: "
                   "{} behind; start them, or take them out of the setting and reload",
                   behind);
    standbys_behind_ = behind;
  }
  board_.update([&](RelayStatus& status) {
    status.wal_retained_bytes.reset();
    if (slot.facts.exists) status.wal_retained_bytes = slot.retained_bytes;
    status.standbys_behind = behind;
  });
}

void Ownership::keep_alive() {
  const auto interval = options_.takeover_after / kHeartbeatsPerTakeover;
  auto next_report = std::chrono::steady_clock::now();
  try {
    while (true) {
      // A server that shuts down ends this backend first: its socket becomes readable at once.
      std::array<pollfd, 2> entries{
          {{shared_->stop.fd(), POLLIN, 0}, {shared_->source->connection().sock(), POLLIN, 0}}};
      ::poll(entries.data(), entries.size(), static_cast<int>(interval.count()));
      if (entries[0].revents != 0) return;
      shared_->source->heartbeat();
      if (std::chrono::steady_clock::now() >= next_report) {
        report_slot();
        next_report = std::chrono::steady_clock::now() + kReportInterval;
      }
    }
  } catch (const std::exception& e) {
    // Whatever it was, an abort would say less, and take the relay with it.
    spdlog::warn("lost the ownership of source {}: {}", options_.source.name, e.what());
  }
  board_.update([](RelayStatus& status) {
    status.wal_retained_bytes.reset();
    status.standbys_behind.clear();
  });
  shared_->held = false;
  control_.signal();
}

}  // namespace postrider
