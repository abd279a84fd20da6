#include "tests/simulator/world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/postgres/sql_watch.h"
#include "relay/session.h"

namespace postrider {

// relay/session.cc and session_start.cc watch their SQL; here nothing overruns.
SqlWatch::SqlWatch(Limits limits) : limits_(limits) {}
SqlWatch::~SqlWatch() = default;

}  // namespace postrider

namespace postrider::sim {
namespace {

World* the_world = nullptr;

constexpr std::uint64_t kHealSteps = 20'000;

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
  if (settings.captures) options.captures = {CaptureRule{.tables = {"app.items"}}};
  return options;
}

}  // namespace

World& World::the() {
  return *the_world;
}

World::World(const Plan& plan)
    : oracle(postgres, broker),
      postgres([this](Lsn confirmed) { oracle.on_status(confirmed); }),
      broker(now, [this](const Publish& publish,
                         std::uint64_t seq) { oracle.on_publish(publish, seq); }),
      plan_(plan),
      wanted_(plan.settings) {
  the_world = this;
  broker.duplicates_first = plan.duplicates_first;
  broker.duplicate_window = plan.duplicate_window;
  for (int i = 0; i < 2; ++i) {
    relays_.push_back(std::make_unique<Relay>());
    relays_.back()->number = i;
  }
}

World::~World() {
  for (auto& relay : relays_) end_relay(*relay, false);
  the_world = nullptr;
}

// ---- Relay processes ----

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
  if (relay().killed) throw Killed{};
  if (budget_ > 0) {
    --budget_;
    return;
  }
  wait();
}

void World::wait() {
  if (relay().killed) throw Killed{};
  Fiber::yield();
  if (relay().killed) throw Killed{};
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
      auto client = connect_broker(relay.options);
      if (held) {
        try {
          held->send_status(Lsn{}, Lsn{}, false);
        } catch (const Failure&) {
          held.reset();
        }
      }
      (void)client->stream_info(relay.options.stream.name);
      held.reset();
      OpenSession open = open_session(relay.options, std::move(client), watch);
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

// ---- Steps ----

void World::step_relay(Relay& relay, std::uint64_t budget) {
  std::vector<Fiber*> ready;
  for (auto& thread : relay.threads)
    if (!thread.fiber->done() && thread.waits_for == nullptr) ready.push_back(thread.fiber.get());
  if (ready.empty()) return;
  current_ = &relay;
  budget_ = budget;
  ready[random_.below(ready.size())]->resume();
  current_ = nullptr;
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

void World::step_broker() {
  const auto& connections = broker.connections();
  if (connections.empty()) return;
  auto& connection = *connections[random_.below(connections.size())];
  if (random_.one_in(2))
    broker.process(connection, random_.between(1, 6));
  else
    broker.deliver(connection, random_.between(1, 6));
  if (random_.one_in(8)) broker.forget_closed();
}

void World::step_postgres() {
  if (!postgres.up) return;
  if (auto* holder = postgres.slot_holder(); holder != nullptr && holder->frames.size() < 40)
    postgres.decode(*holder, random_);
}

void World::step(std::uint64_t relays) {
  now += std::chrono::microseconds(random_.below(plan_.tick_ms * 1000));
  switch (random_.below(8)) {
    case 0:
      return step_postgres();
    case 1:
    case 2:
    case 3:
      return step_broker();
    default:
      break;
  }
  const auto number = random_.below(2);
  if ((relays >> number & 1U) != 0) step_relay(*relays_[number], random_.below(12));
  collect_ended();
}

void World::run_steps(std::uint64_t relays, std::uint64_t steps) {
  for (auto number : {0U, 1U})
    if ((relays >> number & 1U) != 0 && relays_[number]->threads.empty() &&
        !relays_[number]->halted)
      start_relay(*relays_[number]);
  for (; steps > 0 && oracle.complaint().empty(); --steps) step(relays);
}

// ---- Actions ----

void World::commit(const Action& action) {
  if (!postgres.up) return;
  for (std::uint64_t i = 0; i < action.a; ++i) {
    std::vector<Change> changes;
    const std::uint64_t count = random_.between(0, action.b);
    for (std::uint64_t j = 0; j < count; ++j) {
      Change change;
      change.number = next_number_++;
      const auto kind = random_.below(12);
      if (kind < 6)
        change.kind = Change::Kind::kOutboxRow;
      else if (kind < 8)
        change.kind =
            postgres.row.wal_store ? Change::Kind::kOutboxMessage : Change::Kind::kOutboxRow;
      else if (kind == 8)
        change.kind =
            random_.one_in(2) ? Change::Kind::kForeignMessage : Change::Kind::kStrayMessage;
      else
        change.kind = static_cast<Change::Kind>(static_cast<int>(Change::Kind::kInsert) +
                                                static_cast<int>(kind - 9));
      changes.push_back(change);
    }
    postgres.commit(std::move(changes), !random_.one_in(5), random_);
  }
}

// Where a crash that keeps all that is durable cuts the stream off.
std::uint64_t World::survivors() {
  if (!broker.stream()) return 0;
  const std::uint64_t least = broker.durable_seq();
  const std::uint64_t most = broker.stream()->last_seq();
  const std::uint64_t keep = random_.one_in(3) ? least : random_.between(least, most);
  lost_ += most - keep;
  return keep;
}

void World::fault_of_broker(const Action& action) {
  using Kind = Action::Kind;
  const auto& connections = broker.connections();
  auto* const connection =
      connections.empty() ? nullptr : connections[random_.below(connections.size())].get();
  switch (action.kind) {
    case Kind::kLoseAnswers:
      for (auto n = action.a; connection != nullptr && n > 0 && !connection->answers.empty(); --n)
        connection->answers.erase(
            connection->answers.begin() +
            static_cast<std::ptrdiff_t>(random_.below(connection->answers.size())));
      return;
    case Kind::kDoubleAnswer:
      if (connection != nullptr && !connection->answers.empty())
        connection->answers.push_back(connection->answers.front());
      return;
    case Kind::kSwapAnswers:
      if (connection != nullptr && connection->answers.size() > 1)
        std::swap(connection->answers.front(), connection->answers.back());
      return;
    case Kind::kDropConnection:
      if (connection != nullptr) broker.disconnect(*connection);
      return;
    case Kind::kDeleteStream:
      // Only a young stream may be lost without a halt: all the others are kDestroy's.
      if (postgres.row.mark.is_none() && broker.durable_seq() == 0) broker.delete_stream();
      return;
    case Kind::kExpire:
      if (broker.stream() && broker.stream()->last_seq() > 0)
        broker.expire(random_.one_in(2) ? broker.stream()->last_seq()
                                        : random_.between(1, broker.stream()->last_seq()));
      return;
    case Kind::kRemoveTail:
      if (broker.stream()) broker.remove(broker.stream()->last_seq());
      return;
    case Kind::kDestroy:
      if (broker.stream() && broker.stream()->last_seq() > 0) {
        const auto durable = broker.durable_seq();
        if (durable == 0) return;
        oracle.on_destruction();
        if (random_.one_in(2))
          broker.crash(random_.below(durable), random_.one_in(3));
        else
          broker.elect(random_.below(durable));
      }
      return;
    default:
      return;
  }
}

void World::act(const Action& action) {
  using Kind = Action::Kind;
  random_ = Random(action.seed);
  switch (action.kind) {
    case Kind::kRun:
      if (!broker.up && random_.one_in(2)) broker.up = true;
      if (!postgres.up && random_.one_in(2)) postgres.up = true;
      return run_steps(action.a, action.b);
    case Kind::kCommit:
      return commit(action);
    case Kind::kWriteWal:
      if (postgres.up) postgres.write_wal(action.a);
      return;
    case Kind::kPause:
      now += milliseconds(action.a);
      return;
    case Kind::kKillRelay:
      end_relay(*relays_[action.a], action.b == 1);
      relays_[action.a]->halted.reset();
      return;
    case Kind::kStopRelay:
      relays_[action.a]->stop = true;
      return;
    case Kind::kTakeOver:
      relays_[action.a]->take_over = true;
      return;
    case Kind::kConfigure: {
      Settings settings;
      settings.message_id = random_.one_in(2);
      settings.wal_store = wanted_.wal_store || random_.one_in(2);
      settings.captures = random_.one_in(2);
      settings.cloud_events = random_.one_in(4);
      wanted_ = settings;
      return;
    }
    case Kind::kBrokerCrash: {
      const bool young = broker.stream() && broker.durable_seq() == 0 &&
                         broker.stream()->created_at + broker.sync_interval > now;
      return broker.crash(survivors(), young && random_.one_in(2));
    }
    case Kind::kBrokerElects:
      if (broker.up) broker.elect(survivors());
      return;
    case Kind::kBrokerSyncs:
      return broker.sync();
    case Kind::kBrokerDies:
      if (broker.stream()) broker.crash(broker.stream()->last_seq(), false);
      return;
    case Kind::kFalseDuplicates:
      broker.false_duplicates = static_cast<int>(action.a);
      return;
    case Kind::kRefusals:
      broker.refusals = static_cast<int>(action.a);
      return;
    case Kind::kStaleReads:
      broker.stale_by = action.a;
      return;
    case Kind::kPostgresCrash:
      return postgres.crash();
    case Kind::kPostgresSaves:
      return postgres.save_slot();
    case Kind::kDropWalsender:
      if (auto* holder = postgres.slot_holder()) postgres.terminate(holder->pid);
      return;
    default:
      return fault_of_broker(action);
  }
}

// ---- The end ----

bool World::all_confirmed() {
  return postgres.wal().empty() || oracle.expected() == 0 ||
         oracle.expected(postgres.slot_confirmed()) == oracle.expected();
}

// All faults stop; then everything must be carried, and confirmed, by itself.
void World::heal() {
  random_ = Random(plan_.actions.empty() ? 1 : plan_.actions.front().seed + 1);
  healing_ = true;
  broker.up = postgres.up = true;
  broker.false_duplicates = broker.refusals = 0;
  broker.stale_by = 0;
  // What was destroyed behind an idle relay is noticed with the next event.
  if (oracle.destroyed())
    postgres.commit({{Change::Kind::kOutboxRow, next_number_++}}, true, random_);
  postgres.flush();
  for (auto& relay : relays_) relay->take_over = relay->stop = false;
  for (std::uint64_t steps = 0; steps < kHealSteps && oracle.complaint().empty(); steps += 50) {
    run_steps(3, 50);
    now += milliseconds(50);
    if (std::ranges::any_of(relays_, [](const auto& relay) { return relay->halted.has_value(); }))
      return;
    if (oracle.complete() && all_confirmed()) return;
  }
  if (!oracle.complete())
    oracle.complain("stuck: " + std::to_string(broker.stream() ? broker.stream()->last_seq() : 0) +
                    " of " + std::to_string(oracle.expected()) +
                    " messages after everything healed");
  else
    oracle.complain("stuck: everything is carried, and not confirmed: the slot stands at " +
                    postgres.slot_confirmed().to_string());
}

void World::judge(Outcome& outcome) {
  for (const auto& relay : relays_) {
    if (!relay->halted) continue;
    if (oracle.destroyed() && relay->halted->kind == ErrorKind::kDurableEventsLost)
      outcome.halted = true;
    else
      oracle.complain("relay " + std::to_string(relay->number) +
                      " halted: " + relay->halted->to_string());
  }
  if (oracle.complaint().empty() && !outcome.halted) oracle.check_stream();
  outcome.failure = oracle.complaint();
}

Outcome World::run(const std::vector<std::size_t>& kept) {
  Outcome outcome;
  for (const std::size_t index : kept) {
    const Action& action = plan_.actions[index];
    if (trace) {
      std::printf(
          "%4zu  %-24s stream %llu, durable %llu, expected %llu, owner %d\n", index,
          action.to_string().c_str(),
          static_cast<unsigned long long>(broker.stream() ? broker.stream()->last_seq() : 0),
          static_cast<unsigned long long>(broker.durable_seq()),
          static_cast<unsigned long long>(oracle.expected()), owner_);
    }
    if (action.is_fault()) ++outcome.faults;
    act(action);
    if (!oracle.complaint().empty()) break;
    if (std::ranges::any_of(relays_, [](const auto& relay) { return relay->halted.has_value(); }))
      break;
  }
  if (oracle.complaint().empty()) heal();
  judge(outcome);
  outcome.messages = broker.stream() ? broker.stream()->last_seq() : 0;
  outcome.sessions = sessions;
  outcome.lost = lost_;
  return outcome;
}

}  // namespace postrider::sim
