// What only a person can put right: the relay halts with its own exit code and names the remedy.
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

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
  // Starts a relay and expects it to halt so, naming `what` and a remedy, and to confirm nothing.
  void expect_halt(int exit_code, const std::string& what, const Settings& settings = quick()) {
    const auto before = confirmed();
    const auto relay = start_relay(settings, {}, "halting");
    const auto status = relay->wait(kPatience);
    ASSERT_TRUE(status.has_value()) << "it does not halt: " << relay->log();
    EXPECT_EQ(*status, exit_code) << relay->log();
    EXPECT_NE(relay->log().find(what), std::string::npos) << relay->log();
    EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
    EXPECT_EQ(confirmed(), before) << relay->log();
  }
  // PostgreSQL still has the newest event to send: a commit is never sent again once it is
  // confirmed up to its end, which test_decoding tells.
  void expect_newest_event_unconfirmed() {
    const auto end = sql(
        "WITH change AS MATERIALIZED (SELECT * FROM pg_logical_slot_peek_changes('oracle', NULL, "
        "NULL)) SELECT max(lsn) FROM change WHERE data LIKE 'COMMIT%' AND xid::text IN (SELECT "
        "xid::text FROM change WHERE data LIKE 'table outbox.events%')");
    EXPECT_EQ(sql("SELECT pg_lsn '" + confirmed() + "' < pg_lsn '" + end + "'"), "t")
        << "confirmed up to " << confirmed() << ", the event's commit ends at " << end;
  }
  // Of the relay's slot, once nobody holds it: a walsender outlives its relay for a moment, and
  // reads what that has said last. Empty without a slot.
  std::string confirmed() {
    const std::string slot = " FROM pg_replication_slots WHERE slot_name = 'postrider_shop'";
    EXPECT_TRUE(dev::wait_until(
        [&] { return sql("SELECT coalesce(bool_or(active), false)" + slot) == "f"; }, kPatience));
    return sql("SELECT confirmed_flush_lsn" + slot);
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

// As a paused relay leaves it behind a promotion, where the promoted server's row lacks the epoch
// that it had opened.
TEST_F(Halt, OnAnEpochThatTheRowDoesNotKnowBehindTheNewestMessage) {
  emit(10);
  catch_up(unconfirmed());
  auto client = nats_client();
  const auto position = *client.read_stream(kStream).back().header("Postrider-Position");
  // "v1 10 timeline/lsn/index xid time 1 last"
  const auto index = position.rfind('/') + 1;
  const auto message = [&](const std::string& ordinal, const std::string& at,
                           const std::string& epoch) {
    auto text = position;
    text.replace(text.rfind(" 1 last"), 7, " " + epoch);
    text.replace(index, 8, at);
    text.replace(text.find("10"), 2, ordinal);
    return text;
  };
  client.publish("shop.e", "x", {{"Postrider-Position", message("11", "00000020", "7")}});
  client.publish("shop.e", "x", {{"Postrider-Position", message("12", "00000021", "1")}});
  ASSERT_EQ(last_seq(), 12U);
  expect_halt(27, "ordinal 11 of epoch 7", unconfirmed());
}

// Whoever may publish may have made a stream from which messages can be deleted.
class Erasable : public Halt {
 protected:
  Erasable() {
    nats_client().api("STREAM.CREATE.SHOP", {{"name", "SHOP"},
                                             {"subjects", {"shop.>"}},
                                             {"discard", "new"},
                                             {"duplicate_window", 1'000'000'000}});
  }
  void erase(std::uint64_t seq) { nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", seq}}); }
};

TEST_F(Erasable, AForeignMessageThatNoRelayEverSawIsNotCountedAsAnEvent) {
  emit(10);
  catch_up(unconfirmed());
  nats_client().publish("shop.intruder", "hello");
  erase(11);
  const auto relay = start_relay(unconfirmed(), {}, "halting", {"--until-caught-up"});
  EXPECT_EQ(relay->wait(kPatience), 27) << relay->log();
  emit(2);
  expect_halt(27, "an earlier session found a foreign message", unconfirmed());
  EXPECT_EQ(last_seq(), 11U);
}

// The remedy as printed, followed to its end: begin again under a new name.
TEST_F(Erasable, AForeignMessageThatWasDeletedAfterTheHaltTakesNoEventsPlace) {
  emit(10);
  catch_up(unconfirmed());
  nats_client().publish("shop.intruder", "hello");
  expect_halt(27, "without Postrider-Position", unconfirmed());
  erase(11);
  emit(2);
  expect_halt(27, "an earlier session found a foreign message", unconfirmed());
  EXPECT_EQ(last_seq(), 11U);

  std::string held;
  for (const auto& message : nats_client().read_stream(kStream))
    held += (held.empty() ? "'" : ",'") + message.header("Postrider-Id").value() + "'";
  sql("DELETE FROM outbox.checkpoint WHERE source = 'shop'");
  drop_slot();
  auto anew = unconfirmed();
  anew["source.name"] = "\"again\"";
  ASSERT_EQ(postrider({"migrate", "up", "--config", write_config(anew, "new").string()}), 0)
      << output();
  sql("INSERT INTO outbox.events (id, subject, key, type, content_type, headers, payload, "
      "payload_bytes) SELECT id, subject, key, type, content_type, headers, payload, "
      "payload_bytes FROM outbox.events WHERE id NOT IN (" +
      held + ") ORDER BY xid, tableoid, ctid");
  catch_up(anew);
  EXPECT_EQ(nats_client().read_stream("AGAIN").size(), 2U);
}

// What the broker lost with its tail is no longer in the way.
TEST_F(Erasable, AForeignMessageThatTheBrokerLostIsForgotten) {
  catch_up(unconfirmed());
  ASSERT_TRUE(nats_.stop(/*kill=*/false));
  fs::copy(nats_.store(), folder_ / "store", fs::copy_options::recursive);
  nats_.start();
  nats_client().publish("shop.intruder", "hello");
  expect_halt(27, "without Postrider-Position", unconfirmed());
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  fs::remove_all(nats_.store());
  fs::rename(folder_ / "store", nats_.store());
  nats_.start();
  emit(3);
  catch_up(unconfirmed());
  EXPECT_EQ(last_seq(), 3U);
  catch_up(unconfirmed());
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

TEST_F(Halt, OnAStreamThatTakesSmallerMessagesThanEmitAccepts) {
  nats_client().api(
      "STREAM.CREATE.SHOP",
      {{"name", "SHOP"}, {"subjects", {"shop.>"}}, {"discard", "new"}, {"max_msg_size", 65536}});
  expect_halt(37, "max_msg_size");
  sql("UPDATE outbox.settings SET max_payload_bytes = 65536");
  catch_up();
}

TEST_F(Halt, OnAMissingStreamThatItMayNotMake) {
  auto settings = quick();
  settings["stream.create"] = "false";
  expect_halt(28, "does not exist and stream.create is false", settings);
}

TEST_F(Halt, OnAMissingSlot) {
  emit(10);
  catch_up();
  drop_slot();
  expect_halt(23, "does not exist");
  EXPECT_EQ(sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'postrider_shop'"),
            "0")
      << "the relay must never make one";
}

TEST_F(Halt, OnASlotThatSomebodyMadeAnew) {
  emit(10);
  catch_up();
  drop_slot();
  emit(10);
  sql("SELECT pg_create_logical_replication_slot('postrider_shop', 'pgoutput')");
  expect_halt(24, "beyond what this relay ever confirmed");
}

TEST_F(Halt, OnATwoPhaseSlot) {
  emit(10);
  catch_up();
  drop_slot();
  sql("SELECT pg_create_logical_replication_slot('postrider_shop', 'pgoutput', false, true)");
  expect_halt(24, "two_phase");
}

// A typing error that names the slot of another source of the same database, whose relay lives.
TEST_F(Halt, OnTheSlotOfAnotherSourceAndLeavesItsRelayAlone) {
  auto other = quick();
  other["source.name"] = "\"other\"";
  const auto config = write_config(other, "other");
  ASSERT_EQ(postrider({"migrate", "up", "--config", config.string()}), 0) << output();
  const auto relay = start_relay(other, {}, "other");
  const std::string walsender =
      "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'postrider_other'";
  ASSERT_TRUE(dev::wait_until([&] { return !sql(walsender).empty(); }, kPatience)) << relay->log();
  const auto before = sql(walsender);
  auto wrong = quick();
  wrong["source.slot"] = "\"postrider_other\"";
  expect_halt(78, "source.slot", wrong);
  EXPECT_EQ(sql(walsender), before);
  EXPECT_TRUE(relay->running());
  EXPECT_EQ(sql("SELECT session FROM outbox.checkpoint WHERE source = 'shop'"), "0");
}

TEST_F(Halt, OnAPublicationThatTheSourceWasNotInitialisedWith) {
  sql("CREATE PUBLICATION another FOR TABLE outbox.events WITH (publish = 'insert', "
      "publish_via_partition_root = true)");
  auto wrong = quick();
  wrong["source.publication"] = "\"another\"";
  expect_halt(78, "source.publication", wrong);
}

TEST_F(Halt, OnADroppedPublication) {
  emit(10);
  catch_up();
  sql("DROP PUBLICATION postrider");
  emit(10);
  expect_halt(31, "publication");
  expect_newest_event_unconfirmed();
}

TEST_F(Halt, OnAPublicationDroppedWhileItRuns) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  sql("DROP PUBLICATION postrider");
  emit(10);
  EXPECT_EQ(relay->wait(kPatience), 31) << relay->log();
  EXPECT_EQ(last_seq(), 10U);
  expect_newest_event_unconfirmed();
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

// The server tells no client of it: what is too large now is on its way when the server refuses it.
TEST_F(Halt, OnAMaxPayloadLoweredUnderItAndGoesOnWhenItIsRaised) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  nats_.options().settings = {"max_payload: 65536"};
  nats_.reload();
  // In the middle of a transaction.
  app_sql(
      "INSERT INTO written SELECT outbox.emit('e', p), 'e', p::text FROM (SELECT "
      "to_jsonb(repeat('x', CASE g WHEN 6 THEN 100000 ELSE 10 END)) AS p FROM "
      "generate_series(1, 11) g) e");
  EXPECT_EQ(relay->wait(kPatience), 34) << relay->log();
  EXPECT_NE(relay->log().find("raise the broker's max_payload"), std::string::npos) << relay->log();
  EXPECT_LE(last_seq(), 15U) << "nothing may be published behind it";
  expect_halt(37, "max_payload: broker 65536");
  nats_.options().settings.clear();
  nats_.reload();
  catch_up();
  EXPECT_EQ(last_seq(), 21U);
}

// A publication that was altered and put back looks as it always did.
class AlteredPublication : public Halt {
 protected:
  void alter(const std::string& change) { sql("ALTER PUBLICATION postrider " + change); }
  int repair(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(),
                     {"repair", "--config", write_config(quick(), "repair").string()});
    return postrider(arguments);
  }
  // docs/operating.md, "publication missing": events that the stream lacks are emitted again.
  void emit_again_what_the_stream_lacks() {
    std::string held;
    for (const auto& message : nats_client().read_stream(kStream))
      held += (held.empty() ? "'" : ",'") + message.header("Postrider-Id").value() + "'";
    sql("INSERT INTO outbox.events (id, subject, key, type, content_type, headers, payload, "
        "payload_bytes) SELECT id, subject, key, type, content_type, headers, payload, "
        "payload_bytes FROM outbox.events WHERE id NOT IN (" +
        held + ")");
  }
  // Every event of the outbox is in the stream, once.
  void expect_everything_in_the_stream() {
    std::set<std::string> ids;
    const auto messages = nats_client().read_stream(kStream);
    for (const auto& message : messages) ids.insert(message.header("Postrider-Id").value());
    EXPECT_EQ(ids.size(), messages.size());
    EXPECT_EQ(std::to_string(ids.size()), sql("SELECT count(DISTINCT id) FROM outbox.events"));
  }
};

TEST_F(AlteredPublication, IsRefusedWithItsRemedyThoughItWasPutBack) {
  emit(10);
  catch_up();
  alter("DROP TABLE outbox.events");
  emit(5);
  alter("ADD TABLE outbox.events");
  emit(3);
  expect_halt(31, "was altered");
  EXPECT_EQ(last_seq(), 10U);
  // The word of somebody who did not look.
  sql("SELECT outbox.accept_publication('shop')");
  catch_up();
  EXPECT_EQ(last_seq(), 13U);
  EXPECT_EQ(repair(), 1) << output();
  EXPECT_NE(output().find("5 events are not in stream"), std::string::npos) << output();
  EXPECT_NE(output().find("postrider repair --resend"), std::string::npos) << output();
  ASSERT_EQ(repair({"--resend"}), 0) << output();
  catch_up();
  expect_everything_in_the_stream();
  EXPECT_EQ(last_seq(), 18U);
  EXPECT_EQ(repair(), 0) << output();
}

// Then nobody's word is needed: they cannot be on their way.
TEST_F(AlteredPublication, WhatItLeftOutIsKnownToBeLostOnceTheSlotHasPassedIt) {
  emit(10);
  catch_up();
  alter("DROP TABLE outbox.events");
  app_sql("SELECT count(outbox.emit('lost', to_jsonb(g))) FROM generate_series(1, 5) g");
  alter("ADD TABLE outbox.events");
  sql("SELECT outbox.accept_publication('shop')");
  {
    const auto relay = start_relay();
    // The slot learns what has ended from a record that a checkpoint writes.
    ASSERT_TRUE(dev::wait_until(
        [&] {
          emit(1);
          sql("CHECKPOINT");
          return sql("SELECT catalog_xmin::text::bigint > (SELECT max(xid::text::bigint) FROM "
                     "outbox.events WHERE subject = 'lost') FROM pg_replication_slots "
                     "WHERE slot_name = 'postrider_shop'") == "t";
        },
        kPatience))
        << relay->log();
    EXPECT_EQ(postrider({"verify", "stream", "--config", write_config(quick(), "verify").string()}),
              1);
    EXPECT_NE(output().find("postrider repair --resend"), std::string::npos) << output();
    relay->kill();
  }
  ASSERT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("the stream lacks 5 events that were committed before"),
            std::string::npos)
      << output();
  catch_up();
  expect_everything_in_the_stream();
}

// WAL is decoded with the catalog of its time: no word makes up for a publication that was away.
TEST_F(AlteredPublication, ThatWasDroppedAndAcceptedIsPassedByARepair) {
  emit(10);
  catch_up();
  sql("DROP PUBLICATION postrider");
  emit(5);
  ASSERT_EQ(postrider({"migrate", "up", "--config", write_config(quick(), "up").string()}), 0);
  sql("SELECT outbox.accept_publication('shop')");
  emit(3);
  for (int round = 0; round < 2; ++round) expect_halt(31, "postrider repair --resend");
  EXPECT_EQ(repair(), 1) << output();
  EXPECT_NE(output().find("postrider repair --resend"), std::string::npos) << output();
  ASSERT_EQ(repair({"--resend"}), 0) << output();
  catch_up();
  expect_everything_in_the_stream();
  EXPECT_EQ(last_seq(), 18U);
}

TEST_F(AlteredPublication, ThatIsRenamedIsMissingUntilARepair) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  alter("RENAME TO another");
  emit(5);
  EXPECT_EQ(relay->wait(kPatience), 31) << relay->log();
  EXPECT_EQ(last_seq(), 10U);
  expect_newest_event_unconfirmed();
  sql("ALTER PUBLICATION another RENAME TO postrider");
  emit(3);
  expect_halt(31, "publication");
  ASSERT_EQ(repair({"--resend"}), 0) << output();
  catch_up();
  expect_everything_in_the_stream();
  EXPECT_EQ(last_seq(), 18U);
}

TEST_F(AlteredPublication, IsSeenBeforeAnythingIsConfirmedUnderIt) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  alter("SET (publish = '')");
  const auto altered = sql("SELECT pg_current_wal_insert_lsn()");
  emit(5);
  alter("SET (publish = 'insert')");
  emit(3);
  EXPECT_EQ(relay->wait(kPatience), 31) << relay->log();
  EXPECT_EQ(sql("SELECT confirmed_flush_lsn <= '" + altered +
                "' FROM pg_replication_slots WHERE slot_name = 'postrider_shop'"),
            "t");
  sql("SELECT outbox.accept_publication('shop')");
  catch_up();
  emit_again_what_the_stream_lacks();
  catch_up();
  expect_everything_in_the_stream();
}

TEST_F(AlteredPublication, ThatPublishesPartitionsHaltsAtTheirRows) {
  const auto relay = start_relay(unconfirmed());
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  alter("SET (publish_via_partition_root = false)");
  emit(10);
  EXPECT_EQ(relay->wait(kPatience), 31) << relay->log();
  EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
  alter("SET (publish_via_partition_root = true)");
  // Also after the operator's word: those rows are in the WAL as they are.
  sql("SELECT outbox.accept_publication('shop')");
  expect_halt(31, "root table", unconfirmed());
  EXPECT_EQ(last_seq(), 10U);
}

// The WAL describes the table as it was at each row: to put it back is not enough.
struct Alteration {
  const char* name;
  const char* change;  // each of them of outbox.events
  const char* row;
  const char* says;
  const char* back;
};

class AlteredOutbox : public AlteredPublication,
                      public ::testing::WithParamInterface<Alteration> {};

TEST_P(AlteredOutbox, HaltsAtItsRowsUntilARepair) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  sql(std::string("ALTER TABLE outbox.events ") + GetParam().change);
  sql(std::string("INSERT INTO outbox.events ") + GetParam().row);
  EXPECT_EQ(relay->wait(kPatience), 33) << relay->log();
  EXPECT_NE(relay->log().find(GetParam().says), std::string::npos) << relay->log();
  EXPECT_NE(relay->log().find("postrider repair --resend"), std::string::npos) << relay->log();
  EXPECT_EQ(last_seq(), 10U) << "nothing may be published of it";
  expect_newest_event_unconfirmed();
  sql(std::string("ALTER TABLE outbox.events ") + GetParam().back);
  emit(5);
  expect_halt(33, GetParam().says);
  ASSERT_EQ(repair({"--resend"}), 0) << output();
  catch_up();
  expect_everything_in_the_stream();
  EXPECT_EQ(last_seq(), 16U);
}

INSTANTIATE_TEST_SUITE_P(
    Each, AlteredOutbox,
    ::testing::Values(
        Alteration{"renamed", "RENAME COLUMN payload TO body", "(subject, body) VALUES ('e', '{}')",
                   "column \"payload\" is missing", "RENAME COLUMN body TO payload"},
        Alteration{"dropped", "DROP COLUMN headers", "(subject, payload) VALUES ('e', '{}')",
                   "column \"headers\" is missing", "ADD COLUMN headers jsonb"},
        Alteration{"retyped",
                   "ALTER COLUMN payload_bytes TYPE text USING encode(payload_bytes, 'escape')",
                   "(subject, payload_bytes) VALUES ('e', 'plain')", "not bytea in hex format",
                   "ALTER COLUMN payload_bytes TYPE bytea USING convert_to(payload_bytes, "
                   "'UTF8')"}),
    [](const auto& alteration) { return std::string(alteration.param.name); });

class PublicationShape : public Halt, public ::testing::WithParamInterface<const char*> {};

TEST_P(PublicationShape, ThatLeavesEventsOutIsRefusedWhateverWasAccepted) {
  sql("DROP PUBLICATION postrider");
  sql(std::string("CREATE PUBLICATION postrider ") + GetParam());
  sql("SELECT outbox.accept_publication('shop')");
  expect_halt(31, "publication");
}

INSTANTIATE_TEST_SUITE_P(
    Each, PublicationShape,
    ::testing::Values(
        "FOR ALL TABLES WITH (publish = 'insert', publish_via_partition_root)",
        "FOR TABLE outbox.events WITH (publish = 'insert')",
        "FOR TABLE outbox.events WITH (publish = 'update', publish_via_partition_root)",
        "FOR TABLE outbox.settings WITH (publish = 'insert', publish_via_partition_root)",
        "FOR TABLE outbox.events WHERE (subject <> 'x') WITH (publish = 'insert', "
        "publish_via_partition_root)",
        "FOR TABLE outbox.events (id, subject) WITH (publish = 'insert', "
        "publish_via_partition_root)"));

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

// As after a mistake in the name of a host: another server with the same schema, slot and row.
TEST_F(Halt, OnACopyInAnotherCluster) {
  emit(10);
  catch_up();
  struct Cluster {
    explicit Cluster(const fs::path& folder) : environment(folder) {
      std::ostringstream out;
      environment.up(out);
    }
    ~Cluster() {
      (void)environment.nats().stop(/*kill=*/true);
      (void)environment.postgres().stop(dev::Shutdown::kImmediate);
    }
    dev::Environment environment;
  };
  fs::create_directory(folder_ / "other");
  Cluster other(folder_ / "other");
  auto& server = other.environment.postgres();
  auto settings = quick();
  settings["source.conninfo"] = "\"" + server.conninfo("relay", "shop") + "\"";
  settings["migrate.conninfo"] = "\"" + server.conninfo("owner", "shop") + "\"";
  ASSERT_EQ(postrider({"migrate", "up", "--config", write_config(settings, "copy").string()}), 0)
      << output();
  const auto there = server.conninfo("postgres", "shop");
  const auto row = sql("SELECT row_to_json(c) FROM outbox.checkpoint c");
  query(there, "DELETE FROM outbox.checkpoint");
  query(there,
        "INSERT INTO outbox.checkpoint SELECT * FROM json_populate_record(NULL::outbox.checkpoint, "
        "$row$" +
            row + "$row$)");
  query(there, "SELECT outbox.emit('e', to_jsonb(g)) FROM generate_series(1, 10) g");
  expect_halt(20, "wrong_system", settings);
  EXPECT_EQ(last_seq(), 10U) << "nothing of the copy may be published";
  emit(1);
  catch_up();
  EXPECT_EQ(last_seq(), 11U);
}

TEST_F(Halt, OnAnotherCluster) {
  emit(1);
  catch_up();
  sql("UPDATE outbox.checkpoint SET system_id = '1'");
  expect_halt(20, "wrong_system");
}

}  // namespace
}  // namespace postrider::test
