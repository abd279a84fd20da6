// The broker stores what the relay sent, and the acknowledgement never arrives; or the message is
// lost on its way, and everything else is answered.
#include "tests/support/tcp_proxy.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{30'000};

class LostAnswer : public World {
 protected:
  LostAnswer() : proxy_(nats_.options().port) {}

  Settings through_proxy() {
    auto settings = quick();
    settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy_.port()) + "\"";
    settings["stream.duplicate_window"] = "\"" + duplicate_window_ + "\"";
    return settings;
  }

  TcpProxy proxy_;
  std::string duplicate_window_ = "1s";
};

TEST_F(LostAnswer, LeavesNothingInDoubt) {
  duplicate_window_ = "100ms";  // it must hold without that net
  catch_up(through_proxy());
  Workload workload(writers());
  const auto relay = start_relay(through_proxy());
  for (int round = 0; round < 6; ++round) {
    const auto before = last_seq();
    ASSERT_TRUE(wait_for_seq(before + 300)) << relay->log();
    const auto dropped = proxy_.dropped_bytes();
    proxy_.drop_answers(true);
    // Some acknowledgements are gone for good: those messages are stored, and the relay cannot
    // know.
    ASSERT_TRUE(
        dev::wait_until([&] { return proxy_.dropped_bytes() > dropped + 2000; }, kPatience));
    proxy_.reset_connections();
    proxy_.drop_answers(false);
  }
  workload.stop();
  relay->kill();
  catch_up(through_proxy());
  EXPECT_GE(proxy_.connections(), 7U);
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_GT(found.expected, 1800U);
}

// What a tool that leans on the broker's duplicate detection doubles.
TEST_F(LostAnswer, AndAnOutageLongerThanTheDuplicateWindowDoublesNothing) {
  catch_up(through_proxy());
  Workload workload(writers());
  const auto relay = start_relay(through_proxy());
  ASSERT_TRUE(wait_for_seq(300)) << relay->log();
  proxy_.drop_answers(true);
  ASSERT_TRUE(dev::wait_until([&] { return proxy_.dropped_bytes() > 2000; }, kPatience));
  ASSERT_TRUE(nats_.stop());
  proxy_.reset_connections();
  proxy_.drop_answers(false);
  const auto outage_ends = std::chrono::steady_clock::now() + std::chrono::milliseconds(2500);
  ASSERT_TRUE(
      dev::wait_until([&] { return std::chrono::steady_clock::now() > outage_ends; }, kPatience));
  nats_.start();
  workload.wait_for_more(200);
  workload.stop();
  relay->kill();
  catch_up(through_proxy());
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

// A broker that is there but answers nothing: noticed by ack_timeout.
TEST_F(LostAnswer, WithoutAResetIsNoticedByTime) {
  auto settings = through_proxy();
  settings["relay.ack_timeout"] = "\"500ms\"";
  catch_up(settings);
  const auto relay = start_relay(settings);
  app_sql("SELECT outbox.emit('a', '1')");
  ASSERT_TRUE(wait_for_seq(1));
  proxy_.drop_answers(true);
  app_sql("SELECT outbox.emit('b', '2')");
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("no acknowledgement for 500 ms") != std::string::npos; },
      kPatience))
      << relay->log();
  proxy_.drop_answers(false);
  app_sql("SELECT outbox.emit('c', '3')");
  ASSERT_TRUE(wait_for_seq(3)) << relay->log();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

using LostMessage = LostAnswer;

// Nothing but its missing acknowledgement says so: the proof before a confirmation finds the
// message before it, as it should.
TEST_F(LostMessage, IsNotConfirmedBecauseTheServerHasDecodedMore) {
  auto settings = through_proxy();
  settings["relay.ack_timeout"] = "\"3s\"";
  catch_up(settings);
  const auto relay = start_relay(settings);
  app_sql("SELECT outbox.emit('a', '1')");
  ASSERT_TRUE(dev::wait_until([&] { return sql("SELECT ordinal FROM outbox.checkpoint") == "1"; },
                              kPatience))
      << relay->log();
  proxy_.lose_messages(true);
  app_sql("SELECT outbox.emit('b', '2')");
  const auto committed = sql("SELECT pg_current_wal_insert_lsn()");
  ASSERT_TRUE(dev::wait_until([&] { return proxy_.lost_messages() == 1; }, kPatience));
  // WAL that has nothing for the relay: the server goes on and says how far it has come.
  sql("CREATE TABLE busy AS SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g");
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("no acknowledgement for 3000 ms") != std::string::npos; },
      kPatience))
      << relay->log();
  EXPECT_EQ(sql("SELECT confirm_to < '" + committed + "' FROM outbox.checkpoint"), "t");
  proxy_.lose_messages(false);
  EXPECT_TRUE(wait_for_seq(2, kPatience)) << relay->log();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

}  // namespace
}  // namespace postrider::test
