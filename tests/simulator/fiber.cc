#include "tests/simulator/fiber.h"

#include <cxxabi.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace postrider::sim {
namespace {

constexpr std::size_t kStackSize = 256UL * 1024;

// What the C++ runtime keeps per thread about exceptions under way. Source: Itanium C++ ABI,
// "Exception Handling", 2.2.2.
struct ExceptionGlobals {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};
ExceptionGlobals& exception_globals() {
  return *reinterpret_cast<ExceptionGlobals*>(abi::__cxa_get_globals());
}

std::vector<void*>& free_stacks() {
  static std::vector<void*> stacks;
  return stacks;
}

void* take_stack() {
  auto& stacks = free_stacks();
  if (!stacks.empty()) {
    void* stack = stacks.back();
    stacks.pop_back();
    return stack;
  }
  void* stack =
      mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) std::abort();
  return stack;
}

Fiber*& running() {
  static Fiber* fiber = nullptr;
  return fiber;
}

}  // namespace

struct Fiber::Context {
  std::function<void()> body;
  void* stack = nullptr;
  ucontext_t self = {};
  ucontext_t resumer = {};
  Fiber* resumed_by = nullptr;
  ExceptionGlobals exceptions = {};
  bool started = false;
  bool done = false;
  // Of the sanitizers, which have to be told.
  void* fake_stack = nullptr;
  const void* resumer_stack = nullptr;
  std::size_t resumer_stack_size = 0;
  void* tsan_self = nullptr;
  void* tsan_resumer = nullptr;
};

Fiber::Fiber(std::function<void()> body) : context_(std::make_unique<Context>()) {
  context_->body = std::move(body);
}

Fiber::~Fiber() {
  if (context_->started && !context_->done) std::abort();
  if (context_->stack != nullptr) free_stacks().push_back(context_->stack);
#if defined(__SANITIZE_THREAD__)
  if (context_->tsan_self != nullptr) __tsan_destroy_fiber(context_->tsan_self);
#endif
}

bool Fiber::done() const {
  return context_->done;
}

Fiber* Fiber::current() {
  return running();
}

void Fiber::enter(unsigned high, unsigned low) {
  auto& context = *reinterpret_cast<Context*>(std::uintptr_t{high} << 32U | low);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &context.resumer_stack, &context.resumer_stack_size);
#endif
  context.body();
  context.done = true;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, context.resumer_stack, context.resumer_stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(context.tsan_resumer, 0);
#endif
  setcontext(&context.resumer);
}

void Fiber::resume() {
  Context& context = *context_;
  if (!context.started) {
    context.started = true;
    context.stack = take_stack();
    getcontext(&context.self);
    context.self.uc_stack.ss_sp = context.stack;
    context.self.uc_stack.ss_size = kStackSize;
    context.self.uc_link = nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(&context);
    makecontext(&context.self, reinterpret_cast<void (*)()>(&Fiber::enter), 2,
                static_cast<unsigned>(address >> 32U), static_cast<unsigned>(address));
#if defined(__SANITIZE_THREAD__)
    context.tsan_self = __tsan_create_fiber(0);
#endif
  }
  context.resumed_by = std::exchange(running(), this);
  const ExceptionGlobals ours = std::exchange(exception_globals(), context.exceptions);
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, context.stack, kStackSize);
#endif
#if defined(__SANITIZE_THREAD__)
  context.tsan_resumer = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(context.tsan_self, 0);
#endif
  swapcontext(&context.resumer, &context.self);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
  context.exceptions = std::exchange(exception_globals(), ours);
  running() = context.resumed_by;
}

void Fiber::yield() {
  Context& context = *running()->context_;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&context.fake_stack, context.resumer_stack,
                                 context.resumer_stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(context.tsan_resumer, 0);
#endif
  swapcontext(&context.self, &context.resumer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(context.fake_stack, &context.resumer_stack,
                                  &context.resumer_stack_size);
#endif
}

}  // namespace postrider::sim
