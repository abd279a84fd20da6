#include "tests/simulator/world.h"

#include <algorithm>
#include <cstdio>

namespace postrider::sim {
namespace {

World* the_world = nullptr;

constexpr std::uint64_t kHealSteps = 20'000;

}  // namespace

World& World::the() {
  return *the_world;
}

World::World(const Plan& plan)
    : oracle(postgres, broker),
      postgres([this](Lsn confirmed) { oracle.on_status(confirmed); }),
      broker(now, [this](const Publish& publish,
                         std::uint64_t seq) { oracle.on_publish(publish, seq); }),
      readmodel(now, oracle),
      plan_(plan),
      wanted_(plan.settings),
      applier_random_(plan.applier_seed) {
  the_world = this;
  broker.duplicates_first = plan.duplicates_first;
  broker.fast_ingest = plan.fast_ingest;
  broker.duplicate_window = plan.duplicate_window;
  for (int i = 0; i < 2; ++i) {
    relays_.push_back(std::make_unique<Relay>());
    relays_.back()->number = i;
    appliers_.push_back(std::make_unique<ApplierProcess>());
    appliers_.back()->number = i;
  }
}

World::~World() {
  for (auto& applier : appliers_) end_applier(*applier);
  for (auto& relay : relays_) end_relay(*relay, false);
  the_world = nullptr;
}

// ---- Steps ----

void World::step_process(Process& process, std::uint64_t budget, Random& random) {
  std::vector<Fiber*> ready;
  for (auto& thread : process.threads)
    if (!thread.fiber->done() && thread.waits_for == nullptr) ready.push_back(thread.fiber.get());
  if (ready.empty()) return;
  current_ = &process;
  budget_ = budget;
  ready[random.below(ready.size())]->resume();
  current_ = nullptr;
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
  if ((relays >> number & 1U) != 0) step_process(*relays_[number], random_.below(12), random_);
  collect_ended();
}

void World::run_steps(std::uint64_t relays, std::uint64_t steps) {
  for (auto number : {0U, 1U})
    if ((relays >> number & 1U) != 0 && relays_[number]->threads.empty() &&
        !relays_[number]->halted)
      start_relay(*relays_[number]);
  for (; steps > 0 && oracle.complaint().empty(); --steps) {
    step(relays);
    step_appliers();
  }
}

// ---- The end ----

bool World::anyone_halted() const {
  return std::ranges::any_of(relays_, [](const auto& relay) { return relay->halted.has_value(); });
}

bool World::all_confirmed() {
  return postgres.wal().empty() || oracle.expected() == 0 ||
         oracle.expected(postgres.slot_confirmed()) == oracle.expected();
}

// All faults stop; then everything must be carried, and confirmed, by itself.
void World::heal() {
  if (anyone_halted()) return;
  random_ = Random(plan_.actions.empty() ? 1 : plan_.actions.front().seed + 1);
  healing_ = true;
  broker.up = postgres.up = true;
  broker.false_duplicates = broker.refusals = 0;
  broker.stale_by = 0;
  // What happens behind an idle relay is noticed with the next event.
  if (fated_) postgres.commit({{Change::Kind::kOutboxRow, next_number_++}}, true, random_);
  postgres.flush();
  for (auto& relay : relays_) relay->take_over = relay->stop = false;
  for (std::uint64_t steps = 0; steps < kHealSteps && oracle.complaint().empty(); steps += 50) {
    run_steps(3, 50);
    now += milliseconds(50);
    if (anyone_halted()) return;
    // That event may have been carried before what an ended relay had under way landed behind it.
    if (fated_ && steps == kHealSteps / 2 && !oracle.due().empty()) {
      postgres.commit({{Change::Kind::kOutboxRow, next_number_++}}, true, random_);
      postgres.flush();
    }
    if (oracle.due().empty() && oracle.complete() && all_confirmed() && all_applied()) return;
  }
  if (const auto due = oracle.due(); !due.empty())
    oracle.complain("nobody halts: " + std::string(info(*due.begin()).name));
  else if (!oracle.complete())
    oracle.complain("stuck: " + std::to_string(broker.stream() ? broker.stream()->last_seq() : 0) +
                    " of " + std::to_string(oracle.expected()) +
                    " messages after everything healed");
  else if (!all_applied())
    oracle.complain("stuck: the read model stands at ordinal " +
                    std::to_string(readmodel.cursor().ordinal));
  else
    oracle.complain("stuck: everything is carried, and not confirmed: the slot stands at " +
                    postgres.slot_confirmed().to_string());
}

// A halt of an applier ends it for good; the other one halts at the same place.
bool World::all_applied() {
  return !plan_.appliers || readmodel.cursor().ordinal >= oracle.expected() ||
         oracle.lacks_behind(readmodel.cursor()) ||
         std::ranges::all_of(appliers_, [](const auto& applier) { return !!applier->halted; });
}

void World::judge_appliers() {
  for (const auto& applier : appliers_)
    if (applier->halted && !oracle.may_halt(applier->halted->kind, readmodel.cursor()))
      oracle.complain("applier " + std::to_string(applier->number) +
                      " halted: " + applier->halted->to_string());
}

void World::judge(Outcome& outcome) {
  judge_appliers();
  for (const auto& relay : relays_) {
    if (!relay->halted) continue;
    if (oracle.tolerated().contains(relay->halted->kind))
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
    if (fated_ || oracle.deleted()) oracle.note_due();
    act(action);
    disturb_appliers();
    if (!oracle.complaint().empty()) break;
    if (anyone_halted()) break;
  }
  if (oracle.complaint().empty()) heal();
  judge(outcome);
  outcome.messages = broker.stream() ? broker.stream()->last_seq() : 0;
  outcome.sessions = sessions;
  outcome.applied = readmodel.cursor().ordinal;
  outcome.lost = lost_;
  return outcome;
}

}  // namespace postrider::sim
