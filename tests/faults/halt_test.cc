// What only a person can put right: the relay halts with its own exit code and names the remedy.
#include <nlohmann/json.hpp>

#include "tests/support/world.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPatience{30'000};

class Halt : public World {
 protected:
  void emit(int events) {
    app_sql("SELECT count(outbox.emit('e', to_jsonb(g))) FROM generate_series(1, " +
            std::to_string(events) + ") g");
  }
  // Starts a relay and expects it to halt so, naming `what` and a remedy.
  void expect_halt(int exit_code, const std::string& what, const Settings& settings = quick()) {
    const auto relay = start_relay(settings, {}, "halting");
    const auto status = relay->wait(kPatience);
    ASSERT_TRUE(status.has_value()) << "it does not halt: " << relay->log();
    EXPECT_EQ(*status, exit_code) << relay->log();
    EXPECT_NE(relay->log().find(what), std::string::npos) << relay->log();
    EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
  }
};

TEST_F(Halt, OnAForeignMessageAtTheEnd) {
  emit(10);
  catch_up();
  nats_client().publish("shop.intruder", "hello");
  expect_halt(27, "without Postrider-Position");
}

TEST_F(Halt, OnAForeignMessageWhileItRuns) {
  catch_up();
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  nats_client().publish("shop.intruder", "hello");
  emit(1);
  EXPECT_EQ(relay->wait(kPatience), 27) << relay->log();
  EXPECT_EQ(last_seq(), 11U) << "nothing may be published behind it";
}

// The first message of a session is refused, and nothing behind it may be on its way already.
TEST_F(Halt, OnAForeignMessageThatComesBeforeTheFirstPublish) {
  emit(10);
  catch_up();
  emit(10);
  const auto relay = start_relay(quick(), "session.after_read_mark=stop");
  ASSERT_TRUE(dev::wait_until([&] { return relay->stopped(); }, kPatience)) << relay->log();
  nats_client().publish("shop.intruder", "hello");
  relay->resume();
  EXPECT_EQ(relay->wait(kPatience), 27) << relay->log();
  EXPECT_EQ(last_seq(), 11U) << "nothing may be published behind it";
}

TEST_F(Halt, OnAForeignMessageThatCopiesAHeader) {
  emit(10);
  catch_up();
  auto client = nats_client();
  const auto position = *client.read_stream(kStream).back().header("Postrider-Position");
  const auto answer = client.publish("shop.e", "again", {{"Postrider-Position", position}});
  ASSERT_EQ(answer["seq"], 11) << answer;
  expect_halt(27, "foreign_message");
}

TEST_F(Halt, OnAForeignMessageOfAnotherSource) {
  emit(10);
  catch_up();
  auto client = nats_client();
  client.publish(
      "shop.e", "x",
      {{"Postrider-Position", "v1 11 00000001/00000000FFFFFFFF/00000000 900 1000000 1 last"}});
  // It claims commits that the server has not written yet.
  expect_halt(21, "source_went_back");
}

class UnsafeStream : public Halt,
                     public ::testing::WithParamInterface<std::pair<const char*, Json>> {};

TEST_P(UnsafeStream, IsRefusedBySettingName) {
  Json config = {{"name", "SHOP"}, {"subjects", {"shop.>"}}, {"discard", "new"}};
  config.update(GetParam().second);
  nats_client().api("STREAM.CREATE.SHOP", config);
  expect_halt(28, GetParam().first);
}

INSTANTIATE_TEST_SUITE_P(
    Each, UnsafeStream,
    ::testing::Values(
        std::pair<const char*, Json>{"discard", {{"discard", "old"}}},
        std::pair<const char*, Json>{"storage", {{"storage", "memory"}}},
        std::pair<const char*, Json>{"retention", {{"retention", "workqueue"}}},
        std::pair<const char*, Json>{"max_msgs_per_subject", {{"max_msgs_per_subject", 5}}},
        std::pair<const char*, Json>{"allow_rollup", {{"allow_rollup_hdrs", true}}},
        std::pair<const char*, Json>{"no_ack", {{"no_ack", true}}},
        std::pair<const char*, Json>{"subjects", {{"subjects", {"shop.>", "other.>"}}}}),
    [](const auto& point) { return std::string(point.param.first); });

TEST_F(Halt, OnAMissingStreamThatItMayNotMake) {
  auto settings = quick();
  settings["stream.create"] = "false";
  expect_halt(28, "does not exist and stream.create is false", settings);
}

TEST_F(Halt, OnAMissingSlot) {
  emit(10);
  catch_up();
  sql("SELECT pg_drop_replication_slot('postrider_shop')");
  expect_halt(23, "does not exist");
  EXPECT_EQ(sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'postrider_shop'"),
            "0")
      << "the relay must never make one";
}

TEST_F(Halt, OnASlotThatSomebodyMadeAnew) {
  emit(10);
  catch_up();
  sql("SELECT pg_drop_replication_slot('postrider_shop')");
  emit(10);
  sql("SELECT pg_create_logical_replication_slot('postrider_shop', 'pgoutput')");
  expect_halt(24, "beyond what this relay ever confirmed");
}

TEST_F(Halt, OnATwoPhaseSlot) {
  emit(10);
  catch_up();
  sql("SELECT pg_drop_replication_slot('postrider_shop')");
  sql("SELECT pg_create_logical_replication_slot('postrider_shop', 'pgoutput', false, true)");
  expect_halt(24, "two_phase");
}

TEST_F(Halt, OnADroppedPublication) {
  emit(10);
  catch_up();
  sql("DROP PUBLICATION postrider");
  expect_halt(31, "publication");
}

TEST_F(Halt, OnAPublicationDroppedWhileItRuns) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  sql("DROP PUBLICATION postrider");
  emit(10);
  EXPECT_EQ(relay->wait(kPatience), 31) << relay->log();
}

TEST_F(Halt, OnARowThatEmitNeverWrites) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  sql("INSERT INTO outbox.events (subject, payload) VALUES (E'e 1\\r\\nPUB x', '{}')");
  emit(1);
  EXPECT_EQ(relay->wait(kPatience), 33) << relay->log();
  EXPECT_EQ(last_seq(), 10U) << "nothing may be published behind it";
}

TEST_F(Halt, OnAnEventThatTheBrokerCannotTake) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  // More than emit lets through, and more than the broker's max_payload of 1 MiB.
  sql("INSERT INTO outbox.events (subject, payload_bytes) VALUES ('e', convert_to(repeat('x', "
      "1048576), 'UTF8'))");
  emit(1);
  EXPECT_EQ(relay->wait(kPatience), 34) << relay->log();
  EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
  EXPECT_EQ(last_seq(), 10U) << "nothing may be published behind it";
}

// The cold copy has the same system identifier and timeline, and writes new commits over the LSNs
// of commits that were carried.
TEST_F(Halt, OnADatabasePutBackToAColdCopyWithNewCommitsAtTheSameLsns) {
  emit(10);
  catch_up(unconfirmed());
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast));
  const auto data = postgres_.options().data;
  ASSERT_EQ(dev::run({{"cp", "-a", data.string(), (folder_ / "cold").string()}, {}, {}, {}, false}),
            0);
  postgres_.start();
  emit(500);
  emit(500);
  catch_up(unconfirmed());
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast));
  fs::remove_all(data);
  fs::rename(folder_ / "cold", data);
  postgres_.start();
  // Shorter than what was carried: the server cannot have the mark's commit.
  expect_halt(21, "source_went_back", unconfirmed());
  // Longer: the LSN exists again, with another transaction's record there.
  for (int i = 0; i < 30; ++i) emit(100);
  expect_halt(26, "history_differs", unconfirmed());
  EXPECT_EQ(last_seq(), 1010U) << "nothing of the new history may be published";
}

TEST_F(Halt, OnAnApplicationNameThatSynchronousCommitWaitsFor) {
  catch_up();
  sql("ALTER SYSTEM SET synchronous_standby_names = 'postrider_shop'");
  sql("SET synchronous_commit = local; SELECT pg_reload_conf()");
  expect_halt(37, "synchronous_standby_names");
}

TEST_F(Halt, OnASchemaThatItDoesNotKnow) {
  sql("INSERT INTO outbox.schema_migrations (version, name, checksum) VALUES (99, 'future', 'x')");
  expect_halt(29, "schema");
}

TEST_F(Halt, OnAnotherCluster) {
  emit(1);
  catch_up();
  sql("UPDATE outbox.checkpoint SET system_id = '1'");
  expect_halt(20, "wrong_system");
}

}  // namespace
}  // namespace postrider::test
