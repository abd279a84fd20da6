// Fast-ingest batches (nats-server 2.14 and later): what the whole suite of faults asks of single
// publishes, and that a batch is a fence.
#include <signal.h>

#include "tests/support/failpoint_name.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kForeignMessage = 27;

class FastIngest : public World {
 protected:
  static Settings batches() {
    auto settings = unconfirmed();
    settings["relay.message_id"] = "false";
    return settings;
  }
  void emit(int events) {
    app_sql(
        "SELECT count(outbox.emit('e', to_jsonb(repeat('x', 200) || g))) FROM "
        "generate_series(1, " +
        std::to_string(events) + ") g");
  }
  static bool in_batches(const RelayProcess& relay) {
    return relay.log().find("in fast-ingest batches") != std::string::npos;
  }
  void allow_batches() {
    auto client = nats_client();
    auto config = client.api(std::string("STREAM.INFO.") + kStream)["config"];
    config["allow_batched"] = true;
    client.api(std::string("STREAM.UPDATE.") + kStream, config);
  }
  void expect_exact() {
    const auto found = verdict();
    EXPECT_TRUE(found.good()) << found;
  }
};

TEST_F(FastIngest, CarriesBurstsAndLoneEvents) {
  catch_up(batches());
  const auto relay = start_relay(batches());
  const auto many = write(5'000);
  ASSERT_TRUE(wait_for_seq(many)) << relay->log();
  EXPECT_TRUE(in_batches(*relay)) << relay->log();
  expect_exact();
  for (std::uint64_t n = 1; n <= 20; ++n) {
    emit(1);
    ASSERT_TRUE(wait_for_seq(many + n)) << relay->log();
  }
  EXPECT_EQ(relay->log().find("session ended"), std::string::npos) << relay->log();
}

TEST_F(FastIngest, IsNotUsedWhereMessagesHaveIdsOrTheStreamDoesNotAllowIt) {
  auto settings = batches();
  settings["stream.fast_ingest"] = "false";
  catch_up(settings);  // makes the stream
  EXPECT_EQ(postrider({"check", "--config", write_config(batches(), "check").string()}), 0)
      << output();
  EXPECT_NE(output().find("the stream does not allow"), std::string::npos) << output();
  auto relay = start_relay(batches());
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << relay->log();
  EXPECT_FALSE(in_batches(*relay)) << relay->log();
  relay->kill();

  allow_batches();
  relay = start_relay(unconfirmed());
  emit(10);
  ASSERT_TRUE(wait_for_seq(20)) << relay->log();
  EXPECT_FALSE(in_batches(*relay)) << relay->log();
  EXPECT_EQ(postrider({"check", "--config", write_config(unconfirmed(), "check").string()}), 0);
  EXPECT_NE(output().find("relay.message_id"), std::string::npos) << output();
}

// The server answers every few hundred messages: a window that is full before has to end its batch.
TEST_F(FastIngest, ASmallWindowDoesNotWaitForAnAnswerThatNeverComes) {
  auto settings = batches();
  settings["relay.window_bytes"] = "4096";
  emit(500);
  catch_up(settings);
  EXPECT_EQ(last_seq(), 500U);
  settings["relay.window_messages"] = "3";
  const auto relay = start_relay(settings);
  emit(500);
  ASSERT_TRUE(wait_for_seq(1'000)) << relay->log();
  for (std::uint64_t n = 1; n <= 5; ++n) {
    emit(1);
    ASSERT_TRUE(wait_for_seq(1'000 + n)) << relay->log();
  }
  EXPECT_TRUE(in_batches(*relay)) << relay->log();
  EXPECT_EQ(relay->log().find("session ended"), std::string::npos) << relay->log();
}

// An answer comes with every 500th: the end of a batch that is answered already tells nothing.
TEST_F(FastIngest, TransactionsOfAsManyEventsAsOneAnswerIsForEndNoSession) {
  catch_up(batches());
  const auto relay = start_relay(batches());
  for (std::uint64_t n = 1; n <= 20; ++n) {
    emit(500);
    ASSERT_TRUE(wait_for_seq(500 * n)) << relay->log();
  }
  EXPECT_EQ(relay->log().find("session ended"), std::string::npos) << relay->log();
}

TEST_F(FastIngest, BeginsOnceWhatWasCommittedWithIdsIsSent) {
  auto with_ids = unconfirmed();
  emit(10);
  catch_up(with_ids);
  allow_batches();
  emit(10);
  const auto first = start_relay(batches());
  ASSERT_TRUE(wait_for_seq(20)) << first->log();
  EXPECT_FALSE(in_batches(*first)) << first->log();
  emit(10);
  ASSERT_TRUE(wait_for_seq(30)) << first->log();
  first->kill();
  const auto second = start_relay(batches());
  emit(10);
  ASSERT_TRUE(wait_for_seq(40)) << second->log();
  EXPECT_TRUE(in_batches(*second)) << second->log();
  second->kill();
  EXPECT_FALSE(nats_client().read_stream(kStream).back().header("Nats-Msg-Id").has_value());
}

// Of single publishes, those behind the foreign message would be stored, and found by their
// headers.
TEST_F(FastIngest, NothingGetsInBehindAForeignMessage) {
  emit(10);
  catch_up(batches());
  const auto relay = start_relay(batches(), "publish.mid_transaction=stop@2000");
  emit(4'000);
  ASSERT_TRUE(dev::wait_until([&] { return relay->stopped(); }, kPatience)) << relay->log();
  ASSERT_TRUE(in_batches(*relay)) << relay->log();
  const auto before = last_seq();
  ASSERT_GT(before, 10U);
  ASSERT_LT(before, 2'010U) << "some of it must be on its way";
  nats_client().publish("shop.intruder", "hello");
  relay->resume();
  EXPECT_EQ(relay->wait(kPatience), kForeignMessage) << relay->log();
  EXPECT_EQ(last_seq(), before + 1);
}

// The one that stood still had opened a batch, and its broker has long given that up.
TEST_F(FastIngest, ARelayThatWakesInTheMiddleOfABatchAddsNothingToWhatItsSuccessorWrote) {
  auto settings = batches();
  settings["relay.takeover_after"] = "\"1s\"";
  catch_up(settings);
  (void)write(4'000);
  const auto sleeper = start_relay(settings, "publish.after_send=stop@1500", "sleeper");
  ASSERT_TRUE(dev::wait_until([&] { return sleeper->stopped(); }, kPatience)) << sleeper->log();
  ASSERT_TRUE(in_batches(*sleeper)) << sleeper->log();
  const auto other = start_relay(settings, {}, "other");
  ASSERT_TRUE(wait_for_seq(committed())) << other->log();
  sleeper->resume();
  ASSERT_TRUE(wait_for_seq(write(200))) << other->log();
  expect_exact();
  EXPECT_TRUE(other->running()) << other->log();
  EXPECT_TRUE(sleeper->running()) << sleeper->log();
}

TEST_F(FastIngest, ABrokerThatIsKilledInTheMiddleOfBatchesLosesAndDoublesNothing) {
  catch_up(batches());
  const auto relay = start_relay(batches());
  Workload workload(writers());
  for (int round = 0; round < 5; ++round) {
    workload.wait_for_more(200);
    ASSERT_TRUE(nats_.stop(/*kill=*/true));
    nats_.start();
  }
  workload.stop();
  ASSERT_TRUE(wait_for_seq(committed())) << relay->log();
  expect_exact();
  EXPECT_TRUE(in_batches(*relay)) << relay->log();
}

class FastIngestCrash : public FastIngest, public testing::WithParamInterface<const char*> {};

TEST_P(FastIngestCrash, LeavesAStreamThatTheNextRelayGoesOnWith) {
  catch_up(batches());
  const auto all = write(3'000);
  const auto relay = start_relay(batches(), GetParam());
  ASSERT_EQ(relay->wait(kPatience), 128 + SIGKILL) << relay->log();
  catch_up(batches());
  EXPECT_EQ(last_seq(), all);
  expect_exact();
}

INSTANTIATE_TEST_SUITE_P(Points, FastIngestCrash,
                         testing::Values("publish.after_send=kill@1", "publish.after_send=kill@700",
                                         "publish.after_flush=kill@1", "publish.after_flush=kill@5",
                                         "ack.before_handle=kill@1", "ack.before_handle=kill@3",
                                         "ack.after_handle=kill@500",
                                         "publish.mid_transaction=kill@333"),
                         failpoint_name);

}  // namespace
}  // namespace postrider::test
