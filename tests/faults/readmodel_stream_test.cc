// A read model whose stream changes under it: cut back and published again, made anew, damaged.
#include "tests/support/readmodel_world.h"
#include "tests/support/tcp_proxy.h"

namespace postrider::test {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kForeignMessage = 27;
constexpr int kStreamGap = 38;

class ReadModelStream : public ReadModelWorld {
 protected:
  void transfer(int count) {
    for (int i = 0; i < count; ++i)
      sql("SELECT transfer('h" + std::to_string(i % 10) + "', 'h" + std::to_string(10 + i % 10) +
          "', 7, 'table')");
    sent_ += 2 * static_cast<std::uint64_t>(count);
  }
  void carry(int count) {
    transfer(count);
    ASSERT_TRUE(wait_for_seq(sent_));
  }
  // With the settings that its options have by now.
  void restart_broker() {
    ASSERT_TRUE(nats_.stop());
    nats_.start();
  }
  // What `postrider status` says of the read model.
  [[nodiscard]] nlohmann::json status() {
    EXPECT_EQ(
        postrider({"status", "--json", "--config", write_apply_config({}, {}, "status").string()}),
        1);
    return nlohmann::json::parse(output())["readmodels"].at(0);
  }
  // A stream that lets a test delete from it.
  void make_stream_with_delete() {
    nats_client().api("STREAM.CREATE.SHOP", {{"name", kStream},
                                             {"subjects", {"shop.>"}},
                                             {"storage", "file"},
                                             {"retention", "limits"},
                                             {"discard", "new"},
                                             {"deny_purge", true},
                                             {"duplicate_window", 1'000'000'000}});
  }
  std::uint64_t sent_ = 0;
};

// A request for messages that the server never got ends with no answer at all. The relay, which is
// heard all the time, must not pass for one.
TEST_F(ReadModelStream, WhoseServerDoesNotAnswerARequestIsAskedAgainThoughTheRelayIsHeard) {
  TcpProxy proxy(nats_.options().port);
  const auto relay = start_relay(quick());
  const auto applier = start_applier(
      {}, "apply", {}, {"--set", "nats.url=nats://127.0.0.1:" + std::to_string(proxy.port())});
  ASSERT_NO_FATAL_FAILURE(carry(20));
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  proxy.lose_pull_requests(true);
  ASSERT_TRUE(dev::wait_until([&] { return proxy.lost_pull_requests() > 0; }, kPatience));
  proxy.lose_pull_requests(false);
  ASSERT_NO_FATAL_FAILURE(carry(20));
  EXPECT_TRUE(wait_for_applied(sent_, std::chrono::milliseconds{40'000})) << applier->log();
  EXPECT_EQ(accounts(), expected_accounts());
}

// Whoever asks for an answer where notices are expected. (With a reply as a consumer's, $JS.ACK and
// so on, the server lets nobody publish.)
TEST_F(ReadModelStream, IsNotWhatSomebodyAsksOnTheSubjectOfNotices) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(carry(20));
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  NatsClient somebody(nats_.options().port);
  somebody.announce("POSTRIDER.covered.shop", "_INBOX.somebody", "?");
  ASSERT_NO_FATAL_FAILURE(carry(20));
  EXPECT_TRUE(wait_for_applied(sent_)) << applier->log();
  EXPECT_EQ(applier->log().find("without a sequence"), std::string::npos) << applier->log();
  EXPECT_EQ(accounts(), expected_accounts());
}

TEST_F(ReadModelStream, WhoseServerAllowsNoLargeRequestsIsReadInSmallOnes) {
  nats_.options().jetstream_settings = {"limits: { max_request_batch: 50 }"};
  ASSERT_NO_FATAL_FAILURE(restart_broker());
  const auto relay = start_relay(quick());
  ASSERT_NO_FATAL_FAILURE(carry(200));
  const auto applier = start_applier();
  EXPECT_TRUE(wait_for_applied(sent_)) << applier->log();
  EXPECT_EQ(applier->log().find("Exceeded"), std::string::npos) << applier->log();
  nats_.options().jetstream_settings.clear();  // the tests' own client asks for more
  ASSERT_NO_FATAL_FAILURE(restart_broker());
  EXPECT_EQ(accounts(), expected_accounts());
}

TEST_F(ReadModelStream, WhoseConsumerIsDeletedIsReadByAnother) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(carry(20));
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  const auto consumers = nats_client().api("CONSUMER.NAMES.SHOP")["consumers"];
  ASSERT_EQ(consumers.size(), 1U) << consumers;
  nats_client().api("CONSUMER.DELETE.SHOP." + consumers[0].get<std::string>());
  ASSERT_NO_FATAL_FAILURE(carry(20));
  EXPECT_TRUE(wait_for_applied(sent_)) << applier->log();
  EXPECT_NE(applier->log().find("the consumer is gone"), std::string::npos) << applier->log();
  EXPECT_EQ(accounts(), expected_accounts());
}

// A consumer that asks for nothing for 30 s is forgotten, and who has enough to work on asks for
// nothing.
TEST_F(ReadModelStream, WhoseStatementTakesLongerThanAConsumerLivesIsReadOnByTheSame) {
  const auto relay = start_relay(quick());
  ASSERT_NO_FATAL_FAILURE(carry(20));
  apply_all();
  applier_sql(
      "CREATE TABLE held (at timestamptz); "
      "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "IF NOT EXISTS (SELECT FROM held) THEN INSERT INTO held VALUES (now()); "
      "PERFORM pg_sleep(45); END IF; RETURN NULL; END $$; "
      "CREATE TRIGGER hold AFTER UPDATE ON account FOR EACH STATEMENT EXECUTE FUNCTION hold()");
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(carry(20));
  ASSERT_TRUE(wait_for_applied(sent_, std::chrono::milliseconds{90'000})) << applier->log();
  ASSERT_NO_FATAL_FAILURE(carry(20));
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  EXPECT_EQ(target_sql("SELECT count(*) FROM held"), "1");
  EXPECT_EQ(applier->log().find("broker_unavailable"), std::string::npos) << applier->log();
  EXPECT_EQ(accounts(), expected_accounts());
}

// The broker allowed larger messages once.
TEST_F(ReadModelStream, ThatHoldsAMessageLargerThanARequestIsRead) {
  const auto usual = nats_.options().settings;
  nats_.options().settings.push_back("max_payload: 8388608");
  ASSERT_NO_FATAL_FAILURE(restart_broker());
  {
    const auto relay = start_relay(quick());
    ASSERT_NO_FATAL_FAILURE(carry(20));
    sql("UPDATE outbox.settings SET max_payload_bytes = 8388608");
    app_sql("SELECT outbox.emit('note', to_jsonb(repeat('x', 5000000)))");
    sent_ += 1;
    ASSERT_NO_FATAL_FAILURE(carry(20));
  }
  nats_.options().settings = usual;
  ASSERT_NO_FATAL_FAILURE(restart_broker());
  const auto applier = start_applier();
  EXPECT_TRUE(wait_for_applied(sent_)) << applier->log();
  EXPECT_EQ(applier->log().find("broker_unavailable"), std::string::npos) << applier->log();
}

TEST_F(ReadModelStream, ThatIsCutBackAndPublishedAgainIsWaitedForAndAppliedOnce) {
  const auto relay = start_relay(unconfirmed());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(carry(100));
  ASSERT_TRUE(nats_.stop());
  fs::copy(nats_.store(), folder_ / "earlier", fs::copy_options::recursive);
  nats_.start();
  ASSERT_NO_FATAL_FAILURE(carry(150));
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  relay->kill();  // so that the read model is ahead of the stream for a while
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  fs::remove_all(nats_.store());
  fs::copy(folder_ / "earlier", nats_.store(), fs::copy_options::recursive);
  nats_.start();
  ASSERT_TRUE(dev::wait_until(
      [&] { return applier->log().find("the stream ends at sequence") != std::string::npos; },
      kPatience))
      << applier->log();
  const auto waiting = status();
  EXPECT_EQ(waiting["lag_messages"], nullptr) << waiting;
  ASSERT_EQ(waiting["problems"].size(), 1U) << waiting;
  EXPECT_NE(waiting["problems"][0].get<std::string>().find(
                "waits: the stream ends before what it has applied (the stream ends at sequence "),
            std::string::npos)
      << waiting;
  const auto again = start_relay(unconfirmed());
  transfer(50);
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  EXPECT_EQ(accounts(), expected_accounts());
}

TEST_F(ReadModelStream, ThatIsMadeAnewIsFoundByOrdinal) {
  const auto relay = start_relay(unconfirmed());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(carry(100));
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  relay->kill();
  nats_client().api("STREAM.DELETE.SHOP");  // nothing was durable yet: the relay publishes it again
  make_stream_with_delete();
  // Between two of its sessions the applier holds no lock, and nobody applies it.
  const auto waits = nlohmann::json::array(
      {"its stream SHOP was made anew: it goes on once that holds ordinal 200 again"});
  auto searching = status();
  ASSERT_TRUE(dev::wait_until(
      [&] {
        searching = status();
        return searching["problems"] == waits;
      },
      kPatience))
      << searching;
  EXPECT_EQ(searching["lag_messages"], nullptr) << searching;
  const auto again = start_relay(unconfirmed());
  transfer(50);
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  EXPECT_EQ(accounts(), expected_accounts());
}

// A relay died there: what is whole is applied, and the rest is nothing to wait for.
TEST_F(ReadModelStream, ThatEndsInTheMiddleOfATransactionIsCaughtUpWith) {
  {
    const auto relay = start_relay(unconfirmed());
    ASSERT_NO_FATAL_FAILURE(carry(5));
  }
  const auto doomed = start_relay(unconfirmed(), "publish.mid_transaction=kill@20", "doomed");
  sql("SELECT transfer('h1', 'h2', 1, 'table') FROM generate_series(1, 20)");
  ASSERT_TRUE(doomed->wait(kPatience).has_value());
  ASSERT_GT(last_seq(), sent_) << "a part of it must be in the stream";
  apply_all();
  EXPECT_EQ(applied_ordinal(), sent_);
  catch_up(unconfirmed());
  apply_all();
  EXPECT_EQ(accounts(), expected_accounts());
}

TEST_F(ReadModelStream, ThatLacksAMessageHaltsTheReadModel) {
  make_stream_with_delete();
  const auto relay = start_relay(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(carry(20));
  nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", 15}});
  const auto applier = start_applier();
  EXPECT_EQ(applier->wait(kPatience), kStreamGap) << applier->log();
  EXPECT_NE(applier->log().find("ordinal 16"), std::string::npos) << applier->log();
  EXPECT_NE(applier->log().find("remedy:"), std::string::npos);
  EXPECT_LE(applied_ordinal(), 14U);
}

TEST_F(ReadModelStream, WhoseNewestAppliedMessageIsGoneGoesOnBehindIt) {
  make_stream_with_delete();
  const auto relay = start_relay(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(carry(20));
  apply_all();
  nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", 40}});
  const auto applier = start_applier();
  transfer(10);
  ASSERT_TRUE(wait_for_applied(sent_)) << applier->log();
  EXPECT_EQ(target_sql("SELECT sum(events) FROM account"), std::to_string(sent_));
}

TEST_F(ReadModelStream, WithAForeignMessageHaltsTheReadModel) {
  const auto relay = start_relay(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(carry(20));
  relay->kill();
  nats_client().publish("shop.account.forged", R"({"cents": 1000000})");
  const auto applier = start_applier();
  EXPECT_EQ(applier->wait(kPatience), kForeignMessage) << applier->log();
  EXPECT_EQ(target_sql("SELECT count(*) FROM account WHERE balance > 100000"), "0");
}

}  // namespace
}  // namespace postrider::test
