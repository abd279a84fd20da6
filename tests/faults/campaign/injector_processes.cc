#include "tests/faults/campaign/injector.h"

#include "tests/faults/campaign/inject.h"

namespace postrider::campaign {
namespace {

// Messages of a successor before the one that stood still wakes: fewer than a window.
constexpr std::uint64_t kAfterTakeover = 1000;

}  // namespace

void Injector::run_relay(const Step& step) {
  Fleet::Member* armed = nullptr;
  switch (step.kind) {
    case Kind::kRelayKill:
      fleet_.kill(step.amount % 5 == 0 ? fleet_.standby(Role::kRelay)
                                       : fleet_.active(Role::kRelay));
      strike(step.also);
      break;
    case Kind::kRelayTerminate:
      fleet_.terminate(fleet_.active(Role::kRelay));
      strike(step.also);
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
      pause_at_place(Role::kRelay, step);
      break;
    case Kind::kRelayLate:
      publish_late(step);
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

void Injector::pause_at_place(Role role, const Step& step) {
  Fleet::Member* armed = nullptr;
  start_armed(role, step.place + "=stop@" + std::to_string(step.amount), armed);
  if (dev::wait_until([&] { return armed->process->stopped(); }, kLongest)) {
    strike(step.also);
    pause_and_wake(*armed, kAfterTakeover);
  } else {
    fleet_.kill(*armed);  // or it would stand still later, and nobody would wake it
  }
}

// Its window stays in the buffers of the network, those of a dead process, too, and arrives behind
// what its successor has published meanwhile.
void Injector::publish_late(const Step& step) {
  auto& member = fleet_.active(Role::kRelay);
  member.broker->hold(true, false);
  const auto enough = workload_.messages() + step.amount;
  (void)dev::wait_until([&] { return workload_.messages() >= enough || workload_.held_up(); },
                        kLongest);
  if (step.amount % 2 == 0) {
    member.process->pause();
  } else {
    fleet_.kill(member);
  }
  strike(step.also);
  if (!let_take_over(member, kAfterTakeover))
    problems_.push_back(member.name + " is gone and nobody took over");
  member.broker->hold(false, false);
  if (member.process->stopped()) member.process->resume();
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
      strike(step.also);
      break;
    case Kind::kApplierTerminate:
      fleet_.terminate(fleet_.active(Role::kApplier));
      strike(step.also);
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
    case Kind::kApplierPauseAt:
      pause_at_place(Role::kApplier, step);
      break;
    default:
      try_sql(world_.target_conninfo("postgres"), "UPDATE slow SET ms = 300");
      let_write(step);
      Sql(world_.target_conninfo("postgres")).run("UPDATE slow SET ms = 0");
      break;
  }
}

}  // namespace postrider::campaign
