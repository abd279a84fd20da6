// The relay is killed with SIGKILL: at random, and at each point where it matters (between the parts
// of a row in large_row_test.cc).
#include <signal.h>

#include <random>

#include "tests/support/failpoint_name.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};

class RelayCrash : public World {};

TEST_F(RelayCrash, AtRandomMomentsUnderLoadLosesAndDoublesNothing) {
  catch_up();  // opens the wal store
  Workload workload(writers());
  std::mt19937 random(7);
  for (int round = 0; round < 12; ++round) {
    const auto relay = start_relay();
    // Lives for some transactions, the first rounds perhaps not even until its session is open.
    workload.wait_for_more(static_cast<long>(20 + random() % 300));
    relay->kill();
  }
  workload.stop();
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_GT(found.expected, 2000U);
  RecordProperty("verdict", ::testing::PrintToString(found));
}

class RelayCrashAt : public World, public ::testing::WithParamInterface<const char*> {};

TEST_P(RelayCrashAt, LosesAndDoublesNothing) {
  auto options = writers();
  // Points around the making of the stream and of the first epoch need a source that no relay has
  // carried yet; the wal store opens with the first session.
  const std::string point = GetParam();
  options.wal_store = !point.starts_with("stream.") && !point.starts_with("epoch.");
  if (options.wal_store) catch_up();
  Workload workload(options);
  workload.wait_for_more(50);
  if (options.wal_store) catch_up();  // so that there is a mark to read
  const auto relay = start_relay(quick(), GetParam());
  const auto status = relay->wait(kPatience);
  ASSERT_EQ(status, 128 + SIGKILL) << "the failpoint was not reached; " << relay->log();
  workload.wait_for_more(50);
  // The next one, too, with work in flight.
  const auto again = start_relay(quick(), GetParam());
  workload.wait_for_more(100);
  if (again->running()) again->kill();
  workload.stop();
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_GT(found.expected, 500U);
}

INSTANTIATE_TEST_SUITE_P(
    Each, RelayCrashAt,
    ::testing::Values(
        "session.before_open=kill", "session.after_open=kill", "session.before_read_mark=kill",
        "session.after_read_mark=kill", "stream.before_create=kill", "stream.after_create=kill",
        "stream.after_bind=kill", "epoch.before_open=kill", "publish.before_send=kill@700",
        "publish.after_send=kill", "publish.after_send=kill@700", "publish.after_flush=kill@1",
        "publish.after_flush=kill@5", "publish.mid_transaction=kill@333",
        "ack.before_handle=kill@1", "ack.before_handle=kill@500", "ack.after_handle=kill@500",
        "confirm.before_proof=kill", "confirm.before_read=kill", "confirm.before_checkpoint=kill",
        "confirm.after_checkpoint=kill", "confirm.before_status=kill",
        "confirm.after_status=kill@2"),
    failpoint_name);

}  // namespace
}  // namespace postrider::test
