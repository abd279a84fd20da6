#include "daemon/commands/stop_signals.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>

namespace postrider {
namespace {

void expect_call(std::future<void> called) {
  EXPECT_EQ(called.wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

TEST(StopSignals, CallNobodyWhoseWatchHasEndedAndAreNotLost) {
  const StopSignals signals;
  std::atomic<int> first_calls{0};
  {
    std::promise<void> called;
    const auto watch = signals.watch([&] {
      if (++first_calls == 1) called.set_value();
    });
    ASSERT_EQ(kill(getpid(), SIGTERM), 0);
    expect_call(called.get_future());
  }
  ASSERT_EQ(kill(getpid(), SIGINT), 0);
  std::promise<void> called;
  const auto watch = signals.watch([&] { called.set_value(); });
  expect_call(called.get_future());
  EXPECT_EQ(first_calls, 1);
}

}  // namespace
}  // namespace postrider
