#include "tests/faults/campaign/injector.h"

#include <signal.h>

#include "tests/faults/campaign/sql.h"
#include "tests/faults/campaign/store_copy.h"

namespace postrider::campaign {
namespace {

constexpr std::chrono::milliseconds kPatience{30'000};
// A fault that holds the writers up, too, ends after so long.
constexpr std::chrono::milliseconds kLongest{8'000};

// Statements on a server that may be away just now: then there is nothing to break.
void try_sql(const std::string& conninfo, const std::string& statement) {
  try {
    Sql(conninfo).run(statement);
  } catch (const SqlError&) {
  }
}

constexpr const char* kEndClients =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('client "
    "backend', 'walsender') AND pid <> pg_backend_pid()";
constexpr const char* kEndWalsender =
    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = "
    "'postrider_shop' AND active_pid IS NOT NULL";

void must(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

}  // namespace

Injector::Injector(World& world, Fleet& fleet, const Workload& workload,
                   const std::atomic<std::uint64_t>& published)
    : world_(world), fleet_(fleet), workload_(workload), published_(published) {}

void Injector::run(const Step& step) {
  switch (step.kind) {
    case Kind::kNone:
      break;
    case Kind::kRelayKill:
    case Kind::kRelayTerminate:
    case Kind::kRelayPause:
    case Kind::kRelayFailpoint:
    case Kind::kRelayPauseAt:
    case Kind::kRelaySettings:
      run_relay(step);
      break;
    case Kind::kApplierKill:
    case Kind::kApplierTerminate:
    case Kind::kApplierPause:
    case Kind::kApplierFailpoint:
    case Kind::kApplierSlow:
      run_applier(step);
      break;
    case Kind::kSourceKill:
    case Kind::kSourceRestart:
    case Kind::kSourceBackendKill:
    case Kind::kSourceBackends:
    case Kind::kSourceWalsender:
      run_source(step);
      break;
    case Kind::kTargetKill:
    case Kind::kTargetBackends:
    case Kind::kTargetLock:
      run_target(step);
      break;
    case Kind::kBrokerKill:
    case Kind::kBrokerRestart:
    case Kind::kBrokerPause:
    case Kind::kBrokerForgets:
      run_broker(step);
      break;
    case Kind::kRelaySourceLink:
    case Kind::kRelayBrokerLink:
    case Kind::kApplierBrokerLink:
    case Kind::kApplierTargetLink:
      run_link(step);
      break;
  }
  fleet_.heal_links();
  fleet_.revive();
}

void Injector::run_relay(const Step& step) {
  Fleet::Member* armed = nullptr;
  switch (step.kind) {
    case Kind::kRelayKill:
      fleet_.kill(step.amount % 5 == 0 ? fleet_.standby(Role::kRelay)
                                       : fleet_.active(Role::kRelay));
      let_write(step);
      break;
    case Kind::kRelayTerminate:
      fleet_.terminate(fleet_.active(Role::kRelay));
      let_write(step);
      break;
    case Kind::kRelayPause: {
      auto& member = fleet_.active(Role::kRelay);
      member.process->pause();
      strike(step.also);
      pause_and_wake(member, step.amount);
      break;
    }
    case Kind::kRelayFailpoint:
      start_armed(Role::kRelay, step.place + "=kill@" + std::to_string(step.amount), armed);
      strike(step.also);
      // A place that is not reached in time is left at the next kill.
      if (!dev::wait_until([&] { return !armed->process->running(); }, kLongest))
        fleet_.kill(*armed);
      break;
    case Kind::kRelayPauseAt:
      start_armed(Role::kRelay, step.place + "=stop@" + std::to_string(step.amount), armed);
      if (dev::wait_until([&] { return armed->process->stopped(); }, kLongest)) {
        strike(step.also);
        pause_and_wake(*armed, step.amount);
      }
      break;
    default:
      restart_with_other_settings(step.amount % 2 == 0, step.amount);
      strike(step.also);
      break;
  }
}

// The standby dies and comes back armed; then the active one dies, so that it takes over.
void Injector::start_armed(Role role, const std::string& failpoints, Fleet::Member*& armed) {
  auto& active = fleet_.active(role);
  auto& both = fleet_.members(role);
  armed = &active == &both[0] ? &both[1] : &both[0];
  fleet_.kill(*armed);
  fleet_.start(*armed, failpoints);
  fleet_.kill(active);
  // Not before the armed one carries, or this one would.
  constexpr std::uint64_t kBytesOfCarrying = 100'000;
  const auto before = armed->broker->bytes();
  (void)dev::wait_until(
      [&] {
        return !armed->process->running() || armed->process->stopped() ||
               armed->broker->bytes() > before + kBytesOfCarrying;
      },
      kLongest);
  fleet_.start(active);
}

// It stands still already. Others take over; then it wakes, with whatever it had in its buffers.
void Injector::pause_and_wake(Fleet::Member& member, std::uint64_t amount) {
  if (!let_arrive(amount)) problems_.push_back(member.name + " stood still and nobody took over");
  member.process->resume();
}

void Injector::restart_with_other_settings(bool pause_the_old, std::uint64_t amount) {
  fleet_.set_variant(fleet_.variant() + 1);
  auto& old = fleet_.active(Role::kRelay);
  auto& both = fleet_.members(Role::kRelay);
  auto& next = &old == &both[0] ? both[1] : both[0];
  fleet_.kill(next);
  fleet_.start(next);
  if (pause_the_old) {
    old.process->pause();
    pause_and_wake(old, amount);
  }
  fleet_.terminate(old);
  fleet_.start(old);
}

void Injector::run_applier(const Step& step) {
  Fleet::Member* armed = nullptr;
  switch (step.kind) {
    case Kind::kApplierKill:
      fleet_.kill(fleet_.active(Role::kApplier));
      let_write(step);
      break;
    case Kind::kApplierTerminate:
      fleet_.terminate(fleet_.active(Role::kApplier));
      let_write(step);
      break;
    case Kind::kApplierPause: {
      auto& member = fleet_.active(Role::kApplier);
      member.process->pause();
      strike(step.also);
      pause_and_wake(member, step.amount);
      break;
    }
    case Kind::kApplierFailpoint:
      start_armed(Role::kApplier, step.place + "=kill@" + std::to_string(step.amount), armed);
      strike(step.also);
      if (!dev::wait_until([&] { return !armed->process->running(); }, kLongest))
        fleet_.kill(*armed);
      break;
    default:
      try_sql(world_.target_conninfo("postgres"), "UPDATE slow SET ms = 300");
      let_write(step);
      Sql(world_.target_conninfo("postgres")).run("UPDATE slow SET ms = 0");
      break;
  }
}

void Injector::run_source(const Step& step) {
  auto& server = world_.source();
  const auto superuser = world_.source_conninfo("postgres");
  switch (step.kind) {
    case Kind::kSourceKill:
      must(server.stop(dev::Shutdown::kKill), "the source survives SIGKILL");
      strike(step.also == Kind::kSourceKill ? Kind::kNone : step.also);
      server.start();
      break;
    case Kind::kSourceRestart:
      must(server.stop(dev::Shutdown::kFast), "the source does not stop");
      strike(step.also == Kind::kSourceKill ? Kind::kNone : step.also);
      server.start();
      break;
    case Kind::kSourceBackendKill: {
      const auto pid = Sql(superuser).value(
          "SELECT pid FROM pg_stat_activity WHERE usename = 'app' ORDER BY pid LIMIT 1");
      if (!pid.empty()) ::kill(std::stoi(pid), SIGKILL);
      strike(step.also);
      // The server ends all others, recovers, and is there again by itself.
      must(dev::wait_until([&] { return server.accepts_connections(); }, kPatience),
           "the source does not come back");
      break;
    }
    case Kind::kSourceBackends:
      try_sql(superuser, kEndClients);
      strike(step.also);
      break;
    default:
      for (int times = 0; times < 3; ++times) {
        try_sql(superuser, kEndWalsender);
        strike(times == 1 ? step.also : Kind::kNone);
        (void)let_arrive(step.amount / 4);
      }
      break;
  }
}

void Injector::run_target(const Step& step) {
  auto& server = world_.target();
  const auto superuser = world_.target_conninfo("postgres");
  switch (step.kind) {
    case Kind::kTargetKill:
      must(server.stop(dev::Shutdown::kKill), "the target survives SIGKILL");
      let_write(step);
      server.start();
      break;
    case Kind::kTargetBackends:
      try_sql(superuser, kEndClients);
      strike(step.also);
      break;
    default: {
      Sql sql(superuser);
      sql.run("BEGIN; LOCK TABLE tally, account IN ACCESS EXCLUSIVE MODE");
      let_write(step);
      try {
        sql.run("COMMIT");
      } catch (const SqlError&) {  // the second fault ended it
      }
      break;
    }
  }
}

void Injector::run_broker(const Step& step) {
  auto& server = world_.broker();
  switch (step.kind) {
    case Kind::kBrokerKill:
    case Kind::kBrokerRestart:
      must(server.stop(step.kind == Kind::kBrokerKill), "the broker does not stop");
      let_write(step);
      server.start();
      break;
    case Kind::kBrokerPause: {
      const auto pid = server.pid();
      must(pid.has_value(), "the broker does not run");
      ::kill(*pid, SIGSTOP);
      let_write(step);
      ::kill(*pid, SIGCONT);
      break;
    }
    default:
      forget_tail(step.amount);
      break;
  }
}

// What was acknowledged since the copy is gone, as after a power loss before the broker's sync. It
// is put back while nothing of it can be confirmed: the relays were told kBrokerSync.
void Injector::forget_tail(std::uint64_t amount) {
  auto& server = world_.broker();
  must(server.stop(), "the broker does not stop");
  const StoreCopy copy(server.store(), world_.folder() / "store-copy");
  server.start();
  const auto deadline = std::chrono::steady_clock::now() + kBrokerSync / 2;
  const auto enough = published_ + amount;
  (void)dev::wait_until(
      [&] { return published_ >= enough || std::chrono::steady_clock::now() > deadline; },
      kBrokerSync);
  must(server.stop(/*kill=*/true), "the broker survives SIGKILL");
  copy.put_back();
  server.start();
}

void Injector::run_link(const Step& step) {
  const bool of_relay = step.kind == Kind::kRelaySourceLink || step.kind == Kind::kRelayBrokerLink;
  auto& member = fleet_.active(of_relay ? Role::kRelay : Role::kApplier);
  const bool to_broker =
      step.kind == Kind::kRelayBrokerLink || step.kind == Kind::kApplierBrokerLink;
  Link& link = to_broker ? *member.broker : *member.database;
  switch (step.how) {
    case Break::kCut:
      link.cut();
      break;
    case Break::kReset:
      link.reset();
      break;
    case Break::kHold:
      link.hold(true, true);
      break;
    case Break::kHoldUp:
      link.hold(true, false);
      break;
    case Break::kHoldDown:
      link.hold(false, true);
      break;
    case Break::kLoseAnswers:
      link.lose_answers_after(step.amount % 1000);
      break;
    case Break::kDelay:
      link.delay(std::chrono::milliseconds(5 + step.amount % 60));
      break;
  }
  let_write(step);
  if (step.how == Break::kLoseAnswers || (step.how == Break::kHold && step.amount % 2 == 0))
    link.reset();
}

void Injector::let_write(const Step& step) {
  strike(step.also);
  const auto enough = workload_.messages() + step.amount;
  (void)dev::wait_until([&] { return workload_.messages() >= enough || workload_.held_up(); },
                        kLongest);
}

bool Injector::let_take_over(const Fleet::Member& member, std::uint64_t messages) {
  constexpr std::uint64_t kBytesOfMessage = 300;
  auto& both = fleet_.members(member.role);
  const auto& other = &member == &both[0] ? both[1] : both[0];
  const auto enough = other.broker->bytes() + messages * kBytesOfMessage;
  return dev::wait_until([&] { return other.broker->bytes() >= enough; }, kPatience);
}

bool Injector::let_arrive(std::uint64_t messages) {
  const auto enough = published_ + messages;
  return dev::wait_until([&] { return published_ >= enough; }, kPatience);
}

void Injector::strike(Kind kind) {
  switch (kind) {
    case Kind::kRelayKill:
    case Kind::kApplierKill: {
      auto& member = fleet_.active(kind == Kind::kRelayKill ? Role::kRelay : Role::kApplier);
      if (member.process->running()) fleet_.kill(member);
      fleet_.revive();
      break;
    }
    case Kind::kSourceKill:
      must(world_.source().stop(dev::Shutdown::kKill), "the source survives SIGKILL");
      world_.source().start();
      break;
    case Kind::kTargetKill:
      must(world_.target().stop(dev::Shutdown::kKill), "the target survives SIGKILL");
      world_.target().start();
      break;
    case Kind::kBrokerKill:
      must(world_.broker().stop(/*kill=*/true), "the broker survives SIGKILL");
      world_.broker().start();
      break;
    case Kind::kSourceWalsender:
      try_sql(world_.source_conninfo("postgres"), kEndWalsender);
      break;
    default:
      break;
  }
}

}  // namespace postrider::campaign
