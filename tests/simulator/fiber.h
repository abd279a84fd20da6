// Threads of a simulated relay: each has a stack of its own, and one runs at a time, until it
// yields. What runs next is the scheduler's choice, so a run is repeated exactly.
#pragma once

#include <functional>
#include <memory>

namespace postrider::sim {

class Fiber {
 public:
  // Starts nothing yet. `body` must not throw.
  explicit Fiber(std::function<void()> body);
  // It must have ended, or never have been resumed.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs it until it yields or ends. Not from itself; may be called from another fiber.
  void resume();
  [[nodiscard]] bool done() const;

  // The one that runs; nullptr in the scheduler.
  [[nodiscard]] static Fiber* current();
  // Back to whoever resumed the current one.
  static void yield();

 private:
  struct Context;
  static void enter(unsigned high, unsigned low);

  std::unique_ptr<Context> context_;
};

}  // namespace postrider::sim
