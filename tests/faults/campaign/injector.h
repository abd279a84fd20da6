// Does to real processes what a step of the plan says, and heals it. Everything that lasts ends
// when so many messages were written or have arrived, or when a bound of patience has passed.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "tests/faults/campaign/fleet.h"
#include "tests/faults/campaign/plan.h"
#include "tests/faults/campaign/workload.h"
#include "tests/faults/campaign/world.h"

namespace postrider::campaign {

class Injector {
 public:
  Injector(World& world, Fleet& fleet, const Workload& workload,
           const std::atomic<std::uint64_t>& published);

  // When it returns all servers and both processes of each role run, and all links are whole.
  // Throws std::runtime_error when a server does not stop or start.
  void run(const Step& step);
  // What must not happen: nobody took over, say.
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }

 private:
  void run_relay(const Step& step);
  void run_applier(const Step& step);
  void run_source(const Step& step);
  void run_target(const Step& step);
  void run_broker(const Step& step);
  void run_link(const Step& step);

  void start_armed(Role role, const std::string& failpoints, Fleet::Member*& armed);
  void pause_at_place(Role role, const Step& step);
  void publish_late(const Step& step);
  void pause_and_wake(Fleet::Member& member, std::uint64_t amount);
  void restart_with_other_settings(bool pause_the_old, std::uint64_t amount);
  void forget_tail(std::uint64_t amount);
  // While a fault is in force: the second one, then until the writers have written so much more.
  // Where the fault keeps them from it, half as many milliseconds.
  void let_write(const Step& step);
  [[nodiscard]] bool let_arrive(std::uint64_t messages);
  // Until the other member of `member`'s role has moved so many messages.
  [[nodiscard]] bool let_take_over(const Fleet::Member& member, std::uint64_t messages);
  // Until both read models have applied so many.
  [[nodiscard]] bool let_apply(std::uint64_t messages);
  void strike(Kind kind);

  World& world_;
  Fleet& fleet_;
  const Workload& workload_;
  const std::atomic<std::uint64_t>& published_;
  std::vector<std::string> problems_;
};

}  // namespace postrider::campaign
