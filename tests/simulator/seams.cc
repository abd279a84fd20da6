// The calls of the relay that reach the clock, the operating system or another thread, replaced at
// link time (ld's --wrap, see CMakeLists.txt): so that the same code runs here and in the product.
#include <libpq-fe.h>
#include <poll.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <ctime>
#include <memory>
#include <thread>

#include "base/failpoint.h"
#include "tests/simulator/world.h"

using postrider::sim::Killed;
using postrider::sim::World;

namespace postrider {

// Where the product may be killed by its crash tests it may be interrupted here.
void pass_failpoint(const char*) {
  World::the().pass();
}

}  // namespace postrider

// std::thread::_State, which newer libraries keep private. Source: libstdc++, std_thread.h.
struct ThreadState {
  virtual ~ThreadState() = default;
  virtual void _M_run() = 0;
};

extern "C" {

std::chrono::steady_clock::time_point __wrap__ZNSt6chrono3_V212steady_clock3nowEv() {
  return World::the().now;
}

// The only thing that session.cc looks at is whether the replication connection is readable; what
// is not is found out by asking. One that does not wait is about the next message of a batch.
int __wrap_poll(pollfd* entries, nfds_t count, int timeout) {
  if (timeout == 0) return World::the().random().one_in(2) ? 1 : 0;
  World::the().wait();
  for (nfds_t i = 0; i < count; ++i)
    entries[i].revents = static_cast<short>(entries[i].fd == PQsocket(nullptr) ? POLLIN : 0);
  return 1;
}

int __wrap_nanosleep(const timespec*, timespec*) {
  World::the().wait();
  return 0;
}

int __wrap_clock_nanosleep(clockid_t, int, const timespec*, timespec*) {
  World::the().wait();
  return 0;
}

int __wrap_pthread_setname_np(pthread_t, const char*) {
  return 0;
}

// std::thread::_M_start_thread: a fiber, whose address is the thread's id.
void __wrap__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
    std::thread* self, std::unique_ptr<ThreadState>* state, void (*)()) {
  auto& threads = World::the().process().threads;
  std::shared_ptr<ThreadState> body(std::move(*state));
  threads.push_back({std::make_unique<postrider::sim::Fiber>([body] {
                       try {
                         body->_M_run();
                       } catch (const Killed&) {
                       }
                     }),
                     nullptr});
  auto* const fiber = threads.back().fiber.get();
  static_assert(sizeof(*self) == sizeof(fiber));
  std::memcpy(static_cast<void*>(self), &fiber, sizeof fiber);
}

// std::thread::join. Called in destructors, so that it must not throw.
void __wrap__ZNSt6thread4joinEv(std::thread* self) {
  postrider::sim::Fiber* fiber = nullptr;
  std::memcpy(&fiber, static_cast<void*>(self), sizeof fiber);
  auto& process = World::the().process();
  while (!fiber->done())
    if (process.killed)
      fiber->resume();
    else
      postrider::sim::Fiber::yield();
  process.threads.remove_if([&](const auto& thread) { return thread.fiber.get() == fiber; });
  std::memset(static_cast<void*>(self), 0, sizeof fiber);
}

// std::condition_variable::wait and notify_all. May wake for no reason, as any may.
void __wrap__ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE(
    std::condition_variable* self, std::unique_lock<std::mutex>* lock) {
  auto& process = World::the().process();
  for (auto& thread : process.threads)
    if (thread.fiber.get() == postrider::sim::Fiber::current()) thread.waits_for = self;
  lock->unlock();
  postrider::sim::Fiber::yield();
  lock->lock();
}

void __wrap__ZNSt18condition_variable10notify_allEv(std::condition_variable* self) {
  for (auto& thread : World::the().process().threads)
    if (thread.waits_for == self) thread.waits_for = nullptr;
}
}
