// The simulated world: two relay processes, a PostgreSQL and a JetStream, and the plan of what
// happens to them. One thread; relays run on fibers and are let go on step by step.
//
// What runs in a relay is the product's own session: relay/session.cc, session_start.cc,
// confirmer.cc, tail_chain.cc and all that is pure. Only the classes that touch the outside are
// replaced at link time (adapters_*.cc), and so are the clock, poll() and threads (seams.cc).
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/options.h"
#include "relay/status.h"
#include "tests/simulator/fiber.h"
#include "tests/simulator/model_jetstream.h"
#include "tests/simulator/model_postgres.h"
#include "tests/simulator/model_target.h"
#include "tests/simulator/oracle.h"
#include "tests/simulator/plan.h"

namespace postrider::sim {

// Thrown out of a relay's call when its process has been killed. Not a std::exception: nothing in
// the relay catches it.
struct Killed {};

// One thread of a relay process.
struct Thread {
  std::unique_ptr<Fiber> fiber;
  const void* waits_for = nullptr;  // a condition variable
};

// A process of either kind. The first of its threads is main.
struct Process {
  bool killed = false;
  bool stop = false;
  std::optional<Error> halted;
  std::list<Thread> threads;
};

// A relay process.
struct Relay : Process {
  int number = 0;
  RelayOptions options;
  Settings settings;
  bool take_over = false;  // may end the owner of the source
  bool runs_session = false;
  int sql_generation = 0;   // of the server that its session's SQL connection belongs to
  int lock_generation = 0;  // and its lock's
  Lsn epoch_from;           // what it last read as the WAL's end
  StatusBoard board;
};

// A process that applies the read model.
struct ApplierProcess : Process {
  int number = 0;
  bool paused = false;
  std::int64_t target_session = 0;  // the newest that it has opened
};

struct Outcome {
  std::string failure;  // empty: as promised
  bool halted = false;  // rightly
  std::uint64_t messages = 0;
  std::uint64_t sessions = 0;
  std::uint64_t faults = 0;
  std::uint64_t applied = 0;
  std::uint64_t lost = 0;  // acknowledged messages destroyed by the broker, and published again
};

class World {
 public:
  explicit World(const Plan& plan);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Runs the actions whose index is in `kept`, heals, waits until all is carried, and judges.
  Outcome run(const std::vector<std::size_t>& kept);

  // The world that runs, and the relay whose fiber runs. For what is linked into the relay.
  static World& the();
  [[nodiscard]] Relay& relay() const { return static_cast<Relay&>(*current_); }
  [[nodiscard]] Process& process() const { return *current_; }
  [[nodiscard]] ApplierProcess& applier() const { return static_cast<ApplierProcess&>(*current_); }
  [[nodiscard]] Random& applier_random() { return applier_random_; }
  [[nodiscard]] bool healing() const { return healing_; }
  // A place where the process may be interrupted, paused or killed. Throws Killed.
  void pass();
  // The same, and certainly gives the others a turn.
  void wait();
  [[nodiscard]] bool owns(const Relay& relay) const;
  [[nodiscard]] Random& random() { return random_; }
  [[nodiscard]] std::uint64_t next_inbox() { return ++inboxes_; }

  Time now{std::chrono::hours(1)};
  Oracle oracle;
  ModelPostgres postgres;
  ModelJetStream broker;
  ModelTarget readmodel;
  std::uint64_t sessions = 0;
  bool trace = false;

 private:
  void start_relay(Relay& relay);
  void end_relay(Relay& relay, bool walsender_lives);
  void relay_main(Relay& relay);
  bool run_session(Relay& relay);
  bool acquire(Relay& relay);

  void start_applier(ApplierProcess& applier);
  void end_applier(ApplierProcess& applier);
  void applier_main(ApplierProcess& applier);
  void step_appliers();
  void disturb_appliers();
  [[nodiscard]] bool all_applied();
  void judge_appliers();

  void act(const Action& action);
  void run_steps(std::uint64_t relays, std::uint64_t steps);
  void step(std::uint64_t relays);
  void step_process(Process& process, std::uint64_t budget, Random& random);
  void step_broker();
  void step_postgres();
  void commit(const Action& action);
  void fault_of_broker(const Action& action);
  void fate(const Action& action);
  [[nodiscard]] bool may_remove() const;
  [[nodiscard]] bool any_foreign() const;
  [[nodiscard]] bool unseen(const Checkpoint& row) const;
  void destroy();
  void restore(bool with_slot);
  void promote(bool with_slot, bool whole);
  void publish_foreign(bool copy);
  std::uint64_t survivors();
  void heal();
  void judge(Outcome& outcome);
  [[nodiscard]] bool all_confirmed();
  [[nodiscard]] bool anyone_halted() const;
  void collect_ended();

  const Plan& plan_;
  Random random_{0};
  Settings wanted_;
  std::uint64_t next_number_ = 1;
  std::uint64_t lost_ = 0;
  std::uint64_t inboxes_ = 0;
  std::vector<std::unique_ptr<Relay>> relays_;
  std::vector<std::unique_ptr<ApplierProcess>> appliers_;
  Random applier_random_;
  int owner_ = -1;
  Process* current_ = nullptr;
  std::uint64_t budget_ = 0;
  bool healing_ = false;
  std::optional<Cluster> backup_;
  bool fated_ = false;
};

}  // namespace postrider::sim
