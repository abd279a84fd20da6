// What PostgreSQL 17 or 18 alone can do to a source. Which version a test is for is in
// CMakeLists.txt.
#include <fstream>
#include <set>

#include "relay/postgres/source.h"
#include "tests/support/replica_world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kSlotUnusable = 24;
constexpr int kPublicationMissing = 31;

template <class Base>
class Newer : public Base {
 protected:
  int version() { return std::stoi(this->sql("SHOW server_version_num")) / 10'000; }
  void emit(int events) {
    this->app_sql("SELECT count(outbox.emit('e', to_jsonb(g))) FROM generate_series(1, " +
                  std::to_string(events) + ") g");
  }
  std::string slot(const std::string& column) {
    return this->sql("SELECT " + column +
                     " FROM pg_replication_slots WHERE slot_name = 'postrider_shop'");
  }
  // The server says that it leaves rows out, and says it as a warning.
  void expect_warned_halt(RelayProcess& relay) {
    EXPECT_EQ(relay.wait(kPatience), kPublicationMissing) << relay.log();
    EXPECT_NE(relay.log().find("the server warns: skipped loading publication"), std::string::npos)
        << relay.log();
    EXPECT_NE(relay.log().find("remedy: "), std::string::npos) << relay.log();
  }
  // Each event of the outbox once.
  void expect_everything_in_the_stream() {
    std::set<std::string> ids;
    const auto messages = this->nats_client().read_stream(kStream);
    for (const auto& message : messages) ids.insert(message.header("Postrider-Id").value_or(""));
    EXPECT_EQ(ids.size(), messages.size());
    EXPECT_EQ(std::to_string(ids.size()), this->sql("SELECT count(*) FROM outbox.events"));
    const auto config = this->write_config(World::quick(), "verify").string();
    EXPECT_EQ(this->postrider({"verify", "stream", "--config", config}), 0) << this->output();
  }
};

class PostgreSql17 : public Newer<World> {
 protected:
  void SetUp() override { ASSERT_GE(version(), 17); }
};

// A walsender decodes a transaction within one of its own, for as long as the relay takes.
TEST_F(PostgreSql17, ATransactionTimeoutOfTheDatabaseEndsNoSession) {
  sql("INSERT INTO written SELECT outbox.emit('e', to_jsonb(repeat('x', 300))), 'e', "
      "to_jsonb(repeat('x', 300))::text FROM generate_series(1, 30000)");
  sql("ALTER DATABASE shop SET transaction_timeout = '1s'");
  const auto relay = start_relay(unconfirmed(), "publish.after_send=stop@500");
  ASSERT_TRUE(dev::wait_until([&] { return relay->stopped(); }, kPatience)) << relay->log();
  const auto walsender = slot("active_pid");
  const auto begin = sql("SELECT clock_timestamp()");
  ASSERT_TRUE(dev::wait_until(
      [&] {
        return sql("SELECT clock_timestamp() > timestamptz '" + begin + "' + interval '2s'") == "t";
      },
      kPatience));
  EXPECT_EQ(slot("active_pid"), walsender);
  relay->resume();
  ASSERT_TRUE(wait_for_seq(30'000)) << relay->log();
  EXPECT_EQ(slot("active_pid"), walsender) << relay->log();
  sql("ALTER DATABASE shop RESET transaction_timeout");  // what the oracle reads takes longer
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

TEST_F(PostgreSql17, ATransactionTimeoutHoldsForNoneOfTheRelaysConnections) {
  sql("ALTER ROLE relay SET transaction_timeout = '1s'");
  EXPECT_EQ(query(conninfo("relay"), "SHOW transaction_timeout"), "1s");
  Source source(conninfo("relay"), "test");
  pqxx::work tx(source.connection());
  EXPECT_EQ(tx.exec("SHOW transaction_timeout")[0][0].as<std::string>(), "0");
}

class PostgreSql17ReadModel : public Newer<ReadModelWorld> {
 protected:
  void SetUp() override { ASSERT_GE(version(), 17); }
};

TEST_F(PostgreSql17ReadModel, ATransactionTimeoutOfTheTargetEndsNoBatch) {
  const auto relay = start_relay(quick());
  target_sql("ALTER ROLE applier SET transaction_timeout = '1s'");
  applier_sql(
      "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "PERFORM pg_sleep(3); RETURN NULL; END $$; "
      "CREATE TRIGGER hold AFTER INSERT ON account FOR EACH STATEMENT EXECUTE FUNCTION hold()");
  sql("SELECT transfer('h1', 'h2', 7, 'table')");
  ASSERT_TRUE(wait_for_seq(2)) << relay->log();
  const auto applier = start_applier();
  EXPECT_TRUE(wait_for_applied(2)) << applier->log();
  EXPECT_EQ(applier->log().find("timeout"), std::string::npos) << applier->log();
  EXPECT_EQ(accounts(), expected_accounts());
}

class PostgreSql18 : public Newer<World> {
 protected:
  void SetUp() override { ASSERT_GE(version(), 18); }
  int repair() {
    return postrider({"repair", "--config", write_config(quick(), "repair").string()});
  }
  int migrate() {
    return postrider({"migrate", "up", "--config", write_config(quick(), "up").string()});
  }
};

// Nothing looks at the publication here but the server: the relay confirms nothing meanwhile.
TEST_F(PostgreSql18, APublicationDroppedUnderLoadHaltsAndARepairSendsWhatTheServerLeftOut) {
  auto options = writers();
  options.wal_store = false;
  Workload workload(options);
  const auto relay = start_relay(unconfirmed());
  ASSERT_TRUE(wait_for_seq(200)) << relay->log();
  sql("DROP PUBLICATION postrider");
  const auto dropped = sql("SELECT pg_current_wal_insert_lsn()");
  workload.wait_for_more(200);
  ASSERT_NO_FATAL_FAILURE(expect_warned_halt(*relay));
  EXPECT_EQ(slot("confirmed_flush_lsn <= '" + dropped + "'"), "t");
  const auto carried = last_seq();
  workload.wait_for_more(100);
  ASSERT_EQ(migrate(), 0) << output();
  workload.wait_for_more(100);
  const auto again = start_relay(unconfirmed(), {}, "again");
  EXPECT_EQ(again->wait(kPatience), kPublicationMissing) << again->log();
  EXPECT_EQ(last_seq(), carried);
  ASSERT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("send again"), std::string::npos) << output();
  workload.wait_for_more(50);
  workload.stop();
  catch_up();
  expect_everything_in_the_stream();
}

// As it was dropped and made again while nobody looked, the server's word is all that is left of
// it.
TEST_F(PostgreSql18, APublicationThatWasAwayWhileTheRelaySleptHalts) {
  const auto relay = start_relay(unconfirmed());
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << relay->log();
  relay->pause();
  sql("DROP PUBLICATION postrider");
  emit(20);
  ASSERT_EQ(migrate(), 0) << output();
  emit(5);
  relay->resume();
  ASSERT_NO_FATAL_FAILURE(expect_warned_halt(*relay));
  EXPECT_EQ(last_seq(), 10U) << "nothing may be published behind what was left out";
  ASSERT_EQ(repair(), 0) << output();
  catch_up();
  EXPECT_EQ(last_seq(), 35U);
  expect_everything_in_the_stream();
}

TEST_F(PostgreSql18, ASlotThatWasIdleForTooLongHaltsAndIsRepaired) {
  emit(10);
  catch_up();
  sql("ALTER SYSTEM SET idle_replication_slot_timeout = '1s'");
  sql("SELECT pg_reload_conf()");
  emit(20);
  ASSERT_TRUE(dev::wait_until(
      [&] {
        sql("CHECKPOINT");
        return slot("invalidation_reason") == "idle_timeout";
      },
      kPatience));
  const auto relay = start_relay();
  EXPECT_EQ(relay->wait(kPatience), kSlotUnusable) << relay->log();
  EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
  ASSERT_EQ(repair(), 0) << output();
  emit(5);
  catch_up();
  EXPECT_EQ(last_seq(), 35U);
  expect_everything_in_the_stream();
}

class PostgreSql18Capture : public Newer<ReplicaWorld> {
 protected:
  void SetUp() override { ASSERT_GE(version(), 18); }
  int migrate() { return postrider({"migrate", "up", "--config", replica_config("up")}); }
  void expect_halt(const std::string& words) {
    const auto relay = start("relay");
    EXPECT_EQ(relay->wait(kPatience), kPublicationMissing) << relay->log();
    EXPECT_NE(relay->log().find(words), std::string::npos) << relay->log();
  }
};

// The server leaves out the captured rows of a transaction and sends its events.
TEST_F(PostgreSql18Capture, APublicationDroppedUnderARelayHaltsAndARepairReplacesItsTables) {
  const std::string table = "CREATE TABLE item (id int PRIMARY KEY, v int)";
  sql(table);
  applier_sql(table);
  replicate("[[capture]]\ntables = [\"public.*\"]\n", "[[replica]]\n");
  sql("GRANT SELECT, UPDATE ON item TO owner");
  sql("INSERT INTO item SELECT g, g FROM generate_series(1, 20) g");
  ASSERT_EQ(carry(), 0) << applied_log();
  const auto carried = last_seq();
  {
    const auto relay = start("relay", "confirm.before_proof=stop");
    ASSERT_TRUE(dev::wait_until([&] { return relay->stopped(); }, kPatience)) << relay->log();
    sql("DROP PUBLICATION postrider_capture");
    sql("BEGIN; DELETE FROM item WHERE id <= 5; UPDATE item SET v = -1 WHERE id > 15; COMMIT");
    relay->resume();
    EXPECT_EQ(relay->wait(kPatience), kPublicationMissing) << relay->log();
  }
  sql("UPDATE item SET v = -2 WHERE id = 10");
  ASSERT_EQ(migrate(), 0) << output();
  EXPECT_EQ(last_seq(), carried);
  ASSERT_EQ(postrider({"repair", "--config", replica_config("repair")}), 0) << output();
  sql("INSERT INTO item VALUES (100, 100)");
  {
    const auto relay = start("relay");
    ASSERT_TRUE(dev::wait_until(
        [&] { return sql("SELECT max(state) FROM outbox.backfill") == "complete"; }, kPatience))
        << relay->log();
  }
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  EXPECT_EQ(verify(), 0) << output();
}

// PostgreSQL 18 can publish stored ones; backfills and older servers could not follow.
TEST_F(PostgreSql18Capture, GeneratedColumnsStayOutWhateverThePublicationIsTold) {
  const std::string table =
      "CREATE TABLE item (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, "
      "thrice int GENERATED ALWAYS AS (v * 3))";
  sql(table);
  applier_sql(table);
  replicate("[[capture]]\ntables = [\"public.*\"]\n", "[[replica]]\n");
  sql("INSERT INTO item SELECT g, g FROM generate_series(1, 20) g");
  sql("UPDATE item SET v = 100 WHERE id = 1");
  sql("UPDATE item SET id = 200 WHERE id = 2");
  sql("DELETE FROM item WHERE id = 3");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  for (const auto& message : nats_client().read_stream(kStream))
    EXPECT_EQ(message.data.find("twice"), std::string::npos) << message.data;

  sql("ALTER PUBLICATION postrider_capture SET (publish_generated_columns = stored)");
  sql("UPDATE item SET v = 101 WHERE id = 1");
  expect_halt("publishes generated columns");
  sql("SELECT outbox.accept_capture('shop')");
  expect_halt("publishes generated columns");
  ASSERT_EQ(migrate(), 0) << output();
  EXPECT_NE(output().find("no generated columns"), std::string::npos) << output();
  sql("UPDATE item SET v = 102 WHERE id > 18");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  EXPECT_EQ(verify(), 0) << output();
}

// It refuses updates of a published table whose identity holds a generated column: so it must not
// be published.
TEST_F(PostgreSql18Capture, ATableWhoseUpdatesWouldFailIsNotCaptured) {
  for (const char* kind : {"STORED", "VIRTUAL"}) {
    const std::string name = kind[0] == 'S' ? "stored" : "virtual";
    sql("CREATE TABLE " + name + " (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) " +
        kind + "); ALTER TABLE " + name + " REPLICA IDENTITY FULL");
    sql("INSERT INTO " + name + " VALUES (1, 1)");
  }
  replicate("", "[[replica]]\ntables = [\"public.none\"]\n");
  for (const char* name : {"stored", "virtual"}) {
    const std::string table = std::string("public.") + name;
    std::ofstream(replica_config("refused"), std::ios::app)
        << "\n[[capture]]\ntables = [\"" << table << "\"]\n";
    EXPECT_EQ(postrider({"migrate", "up", "--config", (folder_ / "refused.toml").string()}), 78)
        << output();
    EXPECT_NE(output().find("generated column in its replica identity"), std::string::npos)
        << output();
    sql("UPDATE " + table + " SET v = 2");
    sql("ALTER TABLE " + table + " REPLICA IDENTITY DEFAULT");
    EXPECT_EQ(postrider({"migrate", "up", "--config", (folder_ / "refused.toml").string()}), 0)
        << output();
    sql("UPDATE " + table + " SET v = 3");
  }
}

}  // namespace
}  // namespace postrider::test
