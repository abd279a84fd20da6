// The relay's processes: what relay/relay.cc and relay/ownership.cc do, over the models.
#include <cstdio>
#include <utility>

#include "base/postgres/sql_watch.h"
#include "relay/session.h"
#include "tests/simulator/world.h"

namespace postrider {

// relay/session.cc and session_start.cc watch their SQL; here nothing overruns.
SqlWatch::SqlWatch(Limits limits) : limits_(limits) {}
SqlWatch::~SqlWatch() = default;

}  // namespace postrider

namespace postrider::sim {
namespace {

RelayOptions options_of(const Plan& plan, const Settings& settings) {
  RelayOptions options;
  options.source.name = "src";
  options.source.slot = "slot";
  options.stream.name = "S";
  options.broker_sync_interval = milliseconds(2000);
  options.confirm_margin = milliseconds(100);
  options.confirm_interval = milliseconds(100);
  options.idle_confirm_interval = plan.idle_confirm_interval;
  options.window_messages = plan.window;
  options.ack_timeout = milliseconds(1000);
  options.stall_after = milliseconds(3000);
  options.message_id = settings.message_id;
  options.wal_store = settings.wal_store;
  if (settings.cloud_events) options.format = EventFormat::kCloudEventsBinary;
  options.part_bytes = settings.part_bytes;
  if (settings.captures) options.captures = {CaptureRule{.tables = {"app.items"}}};
  return options;
}

}  // namespace

void World::start_relay(Relay& relay) {
  relay.settings = wanted_;
  relay.options = options_of(plan_, wanted_);
  relay.killed = relay.stop = relay.take_over = relay.runs_session = false;
  relay.halted.reset();
  relay.threads.clear();
  Relay* const self = &relay;
  relay.threads.push_back({std::make_unique<Fiber>([this, self] {
                             try {
                               relay_main(*self);
                             } catch (const Killed&) {
                             }
                           }),
                           nullptr});
}

// kill -9: what the process was doing is not finished, and its connections close.
void World::end_relay(Relay& relay, bool walsender_lives) {
  if (relay.threads.empty()) return;
  Walsender* const holder = postgres.slot_holder();
  relay.killed = true;
  current_ = &relay;
  // It joins the others on its way out.
  Fiber& main = *relay.threads.front().fiber;
  while (!main.done()) main.resume();
  current_ = nullptr;
  relay.threads.clear();
  if (owner_ == relay.number) owner_ = -1;
  // The host died: nobody closed the connection.
  if (walsender_lives && holder != nullptr && holder->client_gone) holder->alive = true;
}

bool World::owns(const Relay& relay) const {
  return owner_ == relay.number && relay.lock_generation == postgres.generation;
}

void World::pass() {
  if (current_->killed) throw Killed{};
  if (budget_ > 0) {
    --budget_;
    return;
  }
  wait();
}

void World::wait() {
  if (current_->killed) throw Killed{};
  Fiber::yield();
  if (current_->killed) throw Killed{};
}

bool World::acquire(Relay& relay) {
  while (true) {
    wait();
    if (relay.stop) return false;
    if (!postgres.up) continue;
    if (owner_ >= 0 && relays_[std::size_t(owner_)]->lock_generation != postgres.generation)
      owner_ = -1;
    if (owner_ < 0 || owner_ == relay.number || std::exchange(relay.take_over, false)) break;
  }
  // Whoever held it loses the lock's connection and the slot's.
  if (owner_ >= 0 && owner_ != relay.number)
    if (auto* holder = postgres.slot_holder()) postgres.terminate(holder->pid);
  owner_ = relay.number;
  relay.lock_generation = postgres.generation;
  return true;
}

// Step for step what relay/relay.cc does.
void World::relay_main(Relay& relay) {
  std::unique_ptr<ReplicationConnection> held;
  SqlWatch watch;
  while (!relay.stop) {
    std::optional<Error> ended;
    try {
      if (!owns(relay)) {
        held.reset();
        if (!acquire(relay)) return;
      }
      auto connected = connect_broker(relay.options);
      if (held) {
        try {
          held->send_status(Lsn{}, Lsn{}, false);
        } catch (const Failure&) {
          held.reset();
        }
      }
      (void)connected.client->stream_info(relay.options.stream.name);
      held.reset();
      auto opened = open_session(
          relay.options, std::move(connected), watch, [](Source&) {},
          [](OpenSession&) { return true; });
      OpenSession& open = *opened;
      ++sessions;
      const auto number = open.checkpoint.session;
      const auto last_seq = open.stream.last_seq;
      static const Wake wake;  // never signalled: poll() does not sleep here
      Session session(relay.options, std::move(open),
                      {wake, [&relay] { return relay.stop; },
                       [this, &relay] {
                         pass();  // a process can stand still anywhere
                         return owns(relay) || (!healing_ && !random_.one_in(8));
                       },
                       std::nullopt, nullptr},
                      relay.board);
      try {
        session.run();
        return;
      } catch (const Failure& failure) {
        ended = failure.error();
      }
      if (ended->kind == ErrorKind::kForeignMessage)
        Source(relay.options.source.conninfo, "").note_foreign("src", number, last_seq);
      held = session.release_wal();
    } catch (const Failure& failure) {
      ended = failure.error();
    }
    if (trace) std::printf("      relay %d: %s\n", relay.number, ended->to_string().c_str());
    if (info(ended->kind).disposition == Disposition::kHalt) {
      relay.halted = std::move(ended);
      return;
    }
    if (ended->kind == ErrorKind::kPostgresUnavailable || ended->kind == ErrorKind::kSessionFenced)
      held.reset();
    wait();
  }
}

void World::collect_ended() {
  for (auto& relay : relays_) {
    if (relay->threads.empty() || !relay->threads.front().fiber->done()) continue;
    // A process that ended lets go of the source; one that halted stays down.
    if (owner_ == relay->number) owner_ = -1;
    // A relay whose wal_store is off rightly refuses a source whose wal store is open: its operator
    // gives it the settings of the other.
    if (relay->halted && relay->halted->kind == ErrorKind::kConfiguration && wanted_.wal_store &&
        !relay->settings.wal_store)
      relay->halted.reset();
    if (!relay->halted) start_relay(*relay);
  }
}

}  // namespace postrider::sim
