#include "tests/faults/campaign/injector.h"

#include "tests/faults/campaign/inject.h"

namespace postrider::campaign {
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
    case Kind::kRelayLate:
    case Kind::kRelaySettings:
      run_relay(step);
      break;
    case Kind::kApplierKill:
    case Kind::kApplierTerminate:
    case Kind::kApplierPause:
    case Kind::kApplierFailpoint:
    case Kind::kApplierPauseAt:
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
  const auto begin = std::chrono::steady_clock::now();
  const auto enough = workload_.messages() + step.amount;
  const auto patience = std::chrono::milliseconds(step.amount / 2);
  (void)dev::wait_until(
      [&] {
        return workload_.messages() >= enough ||
               (workload_.held_up() && std::chrono::steady_clock::now() - begin > patience);
      },
      kLongest);
}

bool Injector::let_take_over(const Fleet::Member& member, std::uint64_t messages) {
  constexpr std::uint64_t kBytesOfMessage = 300;
  auto& both = fleet_.members(member.role);
  const auto& other = &member == &both[0] ? both[1] : both[0];
  const auto enough = other.broker->bytes() + messages * kBytesOfMessage;
  return dev::wait_until([&] { return other.broker->bytes() >= enough; }, kPatience);
}

// Each read model is applied by whichever process has it: both must move.
bool Injector::let_apply(std::uint64_t messages) {
  const auto applied = [this]() -> std::uint64_t {
    try {
      return std::stoull(Sql(world_.target_conninfo("postgres"))
                             .value("SELECT coalesce(min(ordinal), 0) FROM postrider.cursor"));
    } catch (const SqlError&) {
      return 0;  // away
    }
  };
  std::uint64_t before = 0;
  return dev::wait_until([&] { return (before = applied()) > 0; }, kPatience) &&
         dev::wait_until([&] { return applied() >= before + messages; }, kPatience);
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
