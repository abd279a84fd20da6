// Processes that apply a read model: what readmodel/applier.cc does, over the models.
#include <cstdio>

#include "readmodel/apply_session.h"
#include "tests/simulator/world.h"

namespace postrider::sim {
namespace {

constexpr milliseconds kTimeout{1000};

// Keeps what it is given, in the transaction that is open; now and then its database is in trouble.
class Keeper : public Projection {
 public:
  [[nodiscard]] std::string name() const override { return "keeper"; }
  void apply(pqxx::transaction_base&, std::span<const ReceivedEvent> events) override {
    auto& world = World::the();
    for (const auto& event : events) {
      if (world.applier_random().one_in(16)) world.pass();
      auto* const session = world.readmodel.session(world.applier().target_session);
      if (session == nullptr || !session->open)
        throw Failure(ErrorKind::kPostgresUnavailable, "the connection to the target broke");
      if (!world.healing() && world.applier_random().one_in(100))
        throw Failure(ErrorKind::kPostgresUnavailable, "a deadlock");
      session->open->applied.push_back(event);
    }
  }
};

}  // namespace

void World::start_applier(ApplierProcess& applier) {
  applier.killed = applier.stop = false;
  applier.threads.clear();
  ApplierProcess* const self = &applier;
  applier.threads.push_back({std::make_unique<Fiber>([this, self] {
                               try {
                                 applier_main(*self);
                               } catch (const Killed&) {
                               }
                             }),
                             nullptr});
}

void World::end_applier(ApplierProcess& applier) {
  if (applier.threads.empty()) return;
  applier.killed = true;
  current_ = &applier;
  Fiber& main = *applier.threads.front().fiber;
  while (!main.done()) main.resume();
  current_ = nullptr;
  applier.threads.clear();
}

void World::applier_main(ApplierProcess& applier) {
  ReadModelOptions options;
  options.name = "model";
  options.source = "src";
  options.stream = "S";
  options.takeover_after = milliseconds(1000);
  options.batch_events = plan_.batch_events;
  options.batch_bytes = plan_.batch_bytes;
  const Projections projections = {std::make_shared<Keeper>()};
  ReadModelBoard board;
  static const Wake wake;  // never signalled
  while (!applier.stop) {
    try {
      Target target({"", options.name, options.source, options.stream, options.schema});
      while (!target.try_lock()) {
        (void)target.end_dead_holder(options.takeover_after);
        wait();
        if (applier.stop) return;
      }
      StreamFeed feed(options.nats, "applier", kTimeout, "");
      ApplySession session(options, projections, target, feed,
                           {wake, [&applier] { return applier.stop; }}, board);
      session.run();
      return;
    } catch (const Failure& failure) {
      const Error& error = failure.error();
      if (trace) std::printf("      applier %d: %s\n", applier.number, error.to_string().c_str());
      if (info(error.kind).disposition == Disposition::kHalt) {
        applier.halted = error;
        return;
      }
    }
    wait();
  }
}

// Beside the relays, with random numbers of its own: so the relays of a seed do what they do
// without it.
void World::step_appliers() {
  if (!plan_.appliers || applier_random_.one_in(2)) return;
  auto& applier = *appliers_[applier_random_.below(2)];
  if (applier.halted || (applier.paused && !healing_)) return;
  if (!applier.threads.empty() && applier.threads.front().fiber->done()) applier.threads.clear();
  if (applier.halted) return;
  if (applier.threads.empty()) start_applier(applier);
  step_process(applier, applier_random_.below(12), applier_random_);
}

// What may happen to them between two actions.
void World::disturb_appliers() {
  if (!plan_.appliers) return;
  auto& applier = *appliers_[applier_random_.below(2)];
  switch (applier_random_.below(12)) {
    case 0:
    case 1:
      return end_applier(applier);
    case 2:
      return readmodel.crash();
    case 3:
      applier.stop = true;
      return;
    case 4:
    case 5:
      applier.paused = !applier.paused;
      return;
    default:
      return;
  }
}

}  // namespace postrider::sim
