// `postrider repair`: the source lost its slot, or the stream its events, or both disagree.
// Whatever was committed must be in the stream once afterwards, and whatever was not must not be.
#include <libpq-fe.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/replica_world.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kSourceWentBack = 21;
constexpr int kTimelineDiverged = 22;
constexpr int kSlotMissing = 23;
constexpr int kSlotUnusable = 24;
constexpr int kDurableEventsLost = 25;
constexpr int kHistoryDiffers = 26;
constexpr int kForeignMessage = 27;
constexpr int kPublicationMissing = 31;
constexpr int kNoPermission = 35;
constexpr int kRepairUnfinished = 43;

class Connection {
 public:
  explicit Connection(const std::string& conninfo)
      : connection_(PQconnectdb(conninfo.c_str()), &PQfinish) {}
  void run(const std::string& statement) const {
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result(
        PQexec(connection_.get(), statement.c_str()), &PQclear);
    const auto status = PQresultStatus(result.get());
    EXPECT_TRUE(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        << PQerrorMessage(connection_.get());
  }

 private:
  std::unique_ptr<PGconn, void (*)(PGconn*)> connection_;
};

template <class Base>
class Repairing : public Base {
 protected:
  void emit(int events) {
    this->app_sql("SELECT count(outbox.emit('e', to_jsonb(g))) FROM generate_series(1, " +
                  std::to_string(events) + ") g");
  }
  int repair(std::vector<std::string> arguments = {}, const Settings& settings = World::quick()) {
    arguments.insert(arguments.begin(),
                     {"repair", "--config", this->write_config(settings, "repair").string()});
    return this->postrider(arguments);
  }
  void expect_halt(int exit_code, const Settings& settings = World::quick()) {
    const auto relay = this->start_relay(settings, {}, "halting");
    EXPECT_EQ(relay->wait(kPatience), exit_code) << relay->log();
    EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
  }
  // Waits until everything that is in the stream is confirmed.
  void carry_until_confirmed() {
    const auto relay = this->start_relay();
    ASSERT_TRUE(dev::wait_until(
        [&] {
          return this->sql(
                     "SELECT ordinal >= (SELECT count(*) FROM outbox.events) AND ordinal > 0 "
                     "FROM outbox.checkpoint") == "t";
        },
        kPatience))
        << relay->log();
  }
  // Of table store events: the stream holds each committed one once, ordinals are given once, and a
  // gap is declared.
  void expect_exact() {
    std::set<std::string> ids;
    std::uint64_t ordinal = 0;
    for (const auto& message : this->nats_client().read_stream(kStream)) {
      const auto id = message.header("Postrider-Id").value_or("");
      EXPECT_TRUE(ids.insert(id).second) << "twice: " << id;
      const auto position = message.header("Postrider-Position").value_or("");
      const auto here = std::stoull(position.substr(3));
      if (const auto hole = message.header("Postrider-Hole"))
        EXPECT_EQ(*hole, std::to_string(ordinal + 1) + "-" + std::to_string(here - 1));
      else
        EXPECT_EQ(here, ordinal + 1) << position;
      ordinal = here;
    }
    EXPECT_EQ(std::to_string(ids.size()), this->sql("SELECT count(*) FROM outbox.events"));
    std::string listed;
    for (const auto& id : ids) listed += (listed.empty() ? "('" : ",('") + id + "')";
    EXPECT_EQ(this->sql("SELECT count(*) FROM (VALUES " + listed +
                        ") AS s (id) WHERE NOT EXISTS (SELECT 1 FROM outbox.events e "
                        "WHERE e.id = s.id::uuid)"),
              "0");
    EXPECT_EQ(this->postrider({"verify", "stream", "--config",
                               this->write_config(World::quick(), "verify").string()}),
              0)
        << this->output();
  }
  // The whole data folder, as a backup of a stopped server has it.
  void take_backup() {
    ASSERT_TRUE(this->postgres_.stop(dev::Shutdown::kFast));
    ASSERT_EQ(dev::run({{"cp", "-a", this->postgres_.options().data.string(), backup().string()},
                        {},
                        {},
                        {},
                        false}),
              0);
    this->postgres_.start();
  }
  // Leaves the server stopped.
  void put_back() {
    ASSERT_TRUE(this->postgres_.stop(dev::Shutdown::kFast));
    fs::remove_all(this->postgres_.options().data);
    fs::rename(backup(), this->postgres_.options().data);
  }

 private:
  fs::path backup() const { return this->folder_ / "backup"; }
};

class Repair : public Repairing<World> {};

TEST_F(Repair, HasNothingToDoWhereNothingIsWrong) {
  emit(10);
  catch_up();
  EXPECT_EQ(repair({"--dry-run"}), 0) << output();
  EXPECT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("nothing to repair"), std::string::npos) << output();
  emit(10);
  catch_up();
  expect_exact();
}

TEST_F(Repair, SendsWhatALostSlotWouldHaveSent) {
  emit(100);
  catch_up();
  drop_slot();
  emit(50);
  expect_halt(kSlotMissing);
  ASSERT_EQ(repair({"--dry-run", "--json"}), 1) << output();
  const auto report = Json::parse(output());
  EXPECT_EQ(report["missing"].size(), 50U) << output();
  EXPECT_EQ(report["present"], 100) << output();
  EXPECT_EQ(sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'postrider_shop'"),
            "0");
  expect_halt(kSlotMissing);

  ASSERT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("send again  50 events"), std::string::npos) << output();
  emit(30);
  catch_up();
  EXPECT_EQ(last_seq(), 180U);
  expect_exact();
  EXPECT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("nothing to repair"), std::string::npos) << output();
}

TEST_F(Repair, KeepsTheOrderOfCommitsWhereTheServerKnowsThem) {
  sql("ALTER SYSTEM SET track_commit_timestamp = on");
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast));
  postgres_.start();
  emit(1);
  catch_up();
  drop_slot();
  // The second transaction commits first.
  const Connection one(conninfo("app"));
  const Connection two(conninfo("app"));
  one.run("BEGIN");
  one.run("SELECT outbox.emit('first', '1')");
  two.run("BEGIN");
  two.run("SELECT outbox.emit('second', '1')");
  two.run("SELECT outbox.emit('second', '2')");
  two.run("COMMIT");
  one.run("COMMIT");
  ASSERT_EQ(repair(), 0) << output();
  catch_up();
  std::string order;
  for (const auto& message : nats_client().read_stream(kStream))
    order += message.subject + "=" + message.data + " ";
  EXPECT_EQ(order, "shop.e=1 shop.second=1 shop.second=2 shop.first=1 ");
}

TEST_F(Repair, WaitsForNobodyAndLosesNothingUnderLoad) {
  auto options = writers();
  options.wal_store = false;
  emit(10);
  catch_up();
  Workload workload(options);
  workload.wait_for_more(100);
  drop_slot();
  workload.wait_for_more(200);
  ASSERT_EQ(repair(), 0) << output();
  workload.wait_for_more(100);
  workload.stop();
  catch_up();
  expect_exact();
}

TEST_F(Repair, LeavesToTheSlotWhatIsCommittedOnceItExists) {
  emit(10);
  catch_up();
  drop_slot();
  emit(20);
  RelayProcess repairing(write_config(quick(), "repairing"), folder_ / "repairing.log",
                         "repair.after_make_slot=stop", {}, "repair");
  ASSERT_TRUE(dev::wait_until([&] { return repairing.stopped(); }, kPatience)) << repairing.log();
  emit(15);
  repairing.resume();
  ASSERT_EQ(repairing.wait(kPatience), 0) << repairing.log();
  catch_up();
  EXPECT_EQ(last_seq(), 45U);
  expect_exact();
}

// Nothing is sent again that could declare the hole: it waits for what comes next.
TEST_F(Repair, DeclaresAHoleLongAfterIt) {
  catch_up();
  app_sql(
      "SELECT count(outbox.emit('e', to_jsonb(g), store => 'wal')) FROM generate_series(1, 10) g");
  {
    const auto relay = start_relay();
    ASSERT_TRUE(dev::wait_until(
        [&] { return sql("SELECT ordinal FROM outbox.checkpoint") == "10"; }, kPatience))
        << relay->log();
  }
  nats_client().api("STREAM.DELETE.SHOP");
  ASSERT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("events of the wal store that the stream lacks"), std::string::npos)
      << output();
  auto settings = quick();
  settings["relay.message_id"] = "false";
  catch_up(settings);
  emit(5);
  catch_up(settings);
  const auto stream = nats_client().read_stream(kStream);
  ASSERT_EQ(stream.size(), 5U);
  EXPECT_EQ(stream[0].header("Postrider-Hole"), "1-10");
  expect_exact();
}

TEST_F(Repair, OfASlotThatSomebodyMadeAnew) {
  emit(10);
  catch_up();
  drop_slot();
  emit(20);
  sql("SELECT pg_create_logical_replication_slot('postrider_shop', 'pgoutput')");
  emit(5);
  ASSERT_EQ(repair(), 0) << output();
  catch_up();
  EXPECT_EQ(last_seq(), 35U);
  expect_exact();
}

// The oracle's slot goes the same way.
TEST_F(Repair, OfASlotWhoseWalTheServerRemoved) {
  emit(10);
  catch_up();
  sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
  sql("SELECT pg_reload_conf()");
  emit(20);
  const auto slot = [&](const std::string& column) {
    return sql("SELECT " + column +
               " FROM pg_replication_slots WHERE slot_name = 'postrider_shop'");
  };
  ASSERT_TRUE(dev::wait_until(
      [&] {
        sql("SELECT pg_logical_emit_message(false, 'other', 'x')");
        sql("SELECT pg_switch_wal()");
        sql("CHECKPOINT");
        return slot("wal_status") == "lost";
      },
      kPatience))
      << slot("wal_status");
  const auto confirmed = slot("confirmed_flush_lsn");
  expect_halt(kSlotUnusable);
  EXPECT_EQ(slot("wal_status || confirmed_flush_lsn"), "lost" + confirmed);
  EXPECT_EQ(last_seq(), 10U);
  sql("ALTER SYSTEM RESET max_slot_wal_keep_size");
  sql("SELECT pg_reload_conf()");
  ASSERT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("send again  20 events"), std::string::npos) << output();
  emit(5);
  catch_up();
  EXPECT_EQ(last_seq(), 35U);
  expect_exact();
}

TEST_F(Repair, BeforeTheFirstEventWasEverCarried) {
  drop_slot();
  emit(20);
  ASSERT_EQ(repair(), 0) << output();
  emit(5);
  catch_up();
  EXPECT_EQ(last_seq(), 25U);
  expect_exact();
}

TEST_F(Repair, OfAPublicationThatWasAway) {
  emit(10);
  catch_up();
  sql("DROP PUBLICATION postrider");
  emit(20);
  expect_halt(kPublicationMissing);
  EXPECT_EQ(repair(), kPublicationMissing) << output();
  ASSERT_EQ(postrider({"migrate", "up", "--config", write_config(quick(), "up").string()}), 0);
  ASSERT_EQ(repair(), 0) << output();
  catch_up();
  expect_exact();
}

TEST_F(Repair, OfAStreamThatIsGone) {
  emit(40);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  nats_client().api("STREAM.DELETE.SHOP");
  emit(10);
  expect_halt(kDurableEventsLost);
  ASSERT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("hole        ordinals 1-40"), std::string::npos) << output();
  // Other settings open an epoch before anything is published: it declares the hole, too.
  auto settings = quick();
  settings["relay.message_id"] = "false";
  catch_up(settings);
  EXPECT_EQ(last_seq(), 50U);
  expect_exact();
  // A young stream may be lost once more: nothing of it was confirmed.
  nats_client().api("STREAM.DELETE.SHOP");
  emit(5);
  catch_up(unconfirmed());
  EXPECT_EQ(last_seq(), 55U);
  expect_exact();
}

TEST_F(Repair, OfADurableTailThatTheBrokerLost) {
  emit(40);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  ASSERT_TRUE(nats_.stop());
  fs::copy(nats_.store(), folder_ / "earlier", fs::copy_options::recursive);
  nats_.start();
  emit(30);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  fs::remove_all(nats_.store());
  fs::rename(folder_ / "earlier", nats_.store());
  nats_.start();
  emit(7);
  expect_halt(kDurableEventsLost);
  ASSERT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("hole        ordinals 41-70"), std::string::npos) << output();
  catch_up();
  expect_exact();
  // Once more, behind a hole.
  emit(3);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  drop_slot();
  emit(4);
  ASSERT_EQ(repair(), 0) << output();
  catch_up();
  expect_exact();
}

// The stream ends in the middle of a transaction: what it holds of it is sent again with the rest.
TEST_F(Repair, OfATransactionThatTheStreamHoldsHalfOf) {
  emit(5);
  catch_up();
  emit(400);
  const auto relay = start_relay(unconfirmed(), "publish.after_send=kill@200");
  ASSERT_EQ(relay->wait(kPatience), 128 + SIGKILL) << relay->log();
  drop_slot();
  ASSERT_GT(last_seq(), 5U);
  ASSERT_EQ(repair(), 0) << output();
  EXPECT_NE(output().find("it is sent again whole"), std::string::npos) << output();
  catch_up();
  expect_exact();
}

TEST_F(Repair, DeletesWhatAPromotionMadeVoidOnTheOperatorsWord) {
  sql("ALTER SYSTEM SET restore_command = 'false'");
  emit(10);
  catch_up(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(take_backup());
  emit(300);
  catch_up(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(put_back());
  std::ofstream(postgres_.options().data / "recovery.signal").close();
  postgres_.start();
  ASSERT_TRUE(dev::wait_until([&] { return sql("SELECT pg_is_in_recovery()") == "f"; }, kPatience));
  emit(50);
  expect_halt(kTimelineDiverged, unconfirmed());
  EXPECT_EQ(repair(), 1) << output();
  EXPECT_NE(output().find("delete      300 void messages"), std::string::npos) << output();
  EXPECT_NE(output().find("--void-after 10 "), std::string::npos) << output();
  EXPECT_EQ(last_seq(), 310U);
  ASSERT_EQ(repair({"--void-after", "10"}), 0) << output();
  // A broker that is restarted behind the deleted messages goes on behind their sequences.
  ASSERT_TRUE(nats_.stop());
  nats_.start();
  emit(5);
  catch_up();
  EXPECT_EQ(last_seq(), 365U);
  expect_exact();
}

// The restored server's new commits reuse LSNs of the old ones: content alone tells them apart.
TEST_F(Repair, TakesBackWhatARestoredBackupNeverHad) {
  emit(10);
  catch_up(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(take_backup());
  emit(20);
  catch_up(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(put_back());
  postgres_.start();
  expect_halt(kSourceWentBack, unconfirmed());
  for (int i = 0; i < 100; ++i) emit(3);
  expect_halt(kHistoryDiffers, unconfirmed());
  // Events of the wal store have no rows, so that the rows prove nothing here.
  EXPECT_EQ(repair({"--dry-run"}, unconfirmed()), 1) << output();
  EXPECT_NE(output().find("history_differs"), std::string::npos) << output();
  EXPECT_NE(output().find("--void-after 10 "), std::string::npos) << output();
  EXPECT_EQ(repair({}, unconfirmed()), 1) << output();
  ASSERT_EQ(repair({"--void-after", "10"}), 0) << output();
  catch_up();
  EXPECT_EQ(last_seq(), 330U);
  expect_exact();
}

// Both servers look well, and a base backup has no slots: the rows alone tell.
TEST_F(Repair, AsksForAWordWhereEventsHaveNoRow) {
  auto settings = unconfirmed();
  settings["relay.wal_store"] = "false";
  emit(10);
  catch_up(settings);
  ASSERT_NO_FATAL_FAILURE(take_backup());
  emit(20);
  catch_up(settings);
  ASSERT_NO_FATAL_FAILURE(put_back());
  postgres_.start();
  for (int i = 0; i < 100; ++i) emit(3);
  expect_halt(kHistoryDiffers, settings);
  ASSERT_EQ(repair({"--dry-run", "--json"}, settings), 1) << output();
  EXPECT_EQ(Json::parse(output())["void_after"], 10) << output();
  drop_slot();
  EXPECT_EQ(repair({}, settings), 1) << output();
  EXPECT_EQ(sql("SELECT repair IS NULL FROM outbox.checkpoint"), "t") << "nothing has begun";
  ASSERT_EQ(repair({"--void-after", "10"}, settings), 0) << output();
  catch_up(settings);
  EXPECT_EQ(last_seq(), 330U);
  expect_exact();
}

TEST_F(Repair, LeavesEventsAloneThatHaveTheirRows) {
  emit(10);
  emit(10);
  catch_up();
  EXPECT_EQ(repair({"--void-after", "10"}), 78) << output();
  EXPECT_EQ(repair(), 0) << output();
  EXPECT_EQ(last_seq(), 20U);
  expect_exact();
}

// A message that copies an old header is no reason to send everything behind it again.
TEST_F(Repair, HoldsTheStreamToItsChain) {
  emit(10);
  emit(10);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  auto client = nats_client();
  const auto position = *client.read_stream(kStream)[4].header("Postrider-Position");
  client.publish("shop.e", "again", {{"Postrider-Position", position}});
  emit(5);
  EXPECT_EQ(repair(), 1) << output();
  EXPECT_NE(output().find("--void-after 20 "), std::string::npos) << output();
  ASSERT_EQ(repair({"--void-after", "20"}), 0) << output();
  EXPECT_NE(output().find("send again  5 events"), std::string::npos) << output();
  catch_up();
  expect_exact();
}

TEST_F(Repair, SaysWhichOrdinalIsTheLastThatARestoredBackupHas) {
  emit(10);
  catch_up(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(take_backup());
  for (int i = 0; i < 10; ++i) emit(20);
  catch_up(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(put_back());
  postgres_.start();
  ASSERT_EQ(repair({"--dry-run", "--json"}), 1) << output();
  EXPECT_EQ(Json::parse(output())["void_after"], 10) << output();
}

TEST_F(Repair, TakesBackAForeignMessage) {
  emit(10);
  catch_up();
  nats_client().publish("shop.intruder", "hello");
  expect_halt(kForeignMessage);
  emit(5);
  EXPECT_EQ(repair(), 1) << output();
  EXPECT_NE(output().find("--void-after 10 "), std::string::npos) << output();
  ASSERT_EQ(repair({"--void-after", "10"}), 0) << output();
  catch_up();
  expect_exact();
}

// Only its sequence is left, and nothing in the stream is void: the word is asked for all the same.
TEST_F(Repair, NamesTheLastGoodOrdinalWhereTheForeignMessageWasDeleted) {
  for (int i = 0; i < 10; ++i) emit(1);
  catch_up(unconfirmed());
  nats_client().publish("shop.intruder", "hello");
  expect_halt(kForeignMessage, unconfirmed());
  nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", 11}});
  emit(2);
  expect_halt(kForeignMessage, unconfirmed());
  EXPECT_EQ(repair({}, unconfirmed()), 1) << output();
  EXPECT_NE(output().find("--void-after 10 "), std::string::npos) << output();
  // A slip of the finger deletes nothing.
  EXPECT_EQ(repair({"--void-after", "1"}, unconfirmed()), 78) << output();
  EXPECT_NE(output().find("--void-more"), std::string::npos) << output();
  EXPECT_EQ(nats_client().read_stream(kStream).size(), 10U);
  EXPECT_EQ(sql("SELECT repair IS NULL FROM outbox.checkpoint"), "t") << "nothing has begun";
  ASSERT_EQ(repair({"--void-after", "10"}, unconfirmed()), 0) << output();
  catch_up();
  expect_exact();
}

// As a paused relay leaves it, whose epoch the promoted server's row does not have.
TEST_F(Repair, TakesBackAMessageOfAnEpochThatTheRowDoesNotKnow) {
  emit(10);
  catch_up(unconfirmed());
  auto position = *nats_client().read_stream(kStream).back().header("Postrider-Position");
  // "v1 10 timeline/lsn/index xid time 1 last"
  position.replace(position.rfind(" 1 last"), 7, " 7 last");
  position.replace(position.rfind('/') + 1, 8, "00000020");
  position.replace(position.find("10"), 2, "11");
  nats_client().publish("shop.e", "x", {{"Postrider-Position", position}});
  expect_halt(kForeignMessage, unconfirmed());
  EXPECT_EQ(repair({}, unconfirmed()), 1) << output();
  EXPECT_NE(output().find("delete      1 void messages"), std::string::npos) << output();
  EXPECT_NE(output().find("--void-after 10 "), std::string::npos) << output();
  ASSERT_EQ(repair({"--void-after", "10"}, unconfirmed()), 0) << output();
  emit(3);
  catch_up();
  expect_exact();
}

// The newest message is gone, and the fork lies behind all that can be read.
TEST_F(Repair, NamesTheLastReadableOrdinalWhereThePromotedServersTailIsGone) {
  sql("ALTER SYSTEM SET restore_command = 'false'");
  emit(10);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  for (int i = 0; i < 5; ++i) emit(1);
  catch_up(unconfirmed());
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast));
  std::ofstream(postgres_.options().data / "recovery.signal").close();
  postgres_.start();
  ASSERT_TRUE(dev::wait_until([&] { return sql("SELECT pg_is_in_recovery()") == "f"; }, kPatience));
  nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", 15}});
  expect_halt(kTimelineDiverged, unconfirmed());
  EXPECT_EQ(repair({}, unconfirmed()), 1) << output();
  EXPECT_NE(output().find("--void-after 14 "), std::string::npos) << output();
  // A read model may have applied ordinal 15: it is not given again.
  EXPECT_NE(output().find("hole        ordinals 15-15"), std::string::npos) << output();
  ASSERT_EQ(repair({"--void-after", "14"}, unconfirmed()), 0) << output();
  catch_up();
  expect_exact();
}

// nats-server syncs deletions lazily: a power loss soon after brings the void messages back.
TEST_F(Repair, DeletesAgainWhatTheBrokerBringsBack) {
  for (int i = 0; i < 10; ++i) emit(1);
  catch_up(unconfirmed());
  ASSERT_TRUE(nats_.stop());
  fs::copy(nats_.store(), folder_ / "earlier", fs::copy_options::recursive);
  nats_.start();
  drop_slot();
  ASSERT_EQ(repair({"--void-after", "8", "--void-more"}), 0) << output();
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  fs::remove_all(nats_.store());
  fs::rename(folder_ / "earlier", nats_.store());
  nats_.start();
  expect_halt(kRepairUnfinished);
  // As its remedy says: here the history does not speak against them.
  ASSERT_EQ(repair({"--void-after", "8"}), 0) << output();
  EXPECT_NE(output().find("delete      2 void messages"), std::string::npos) << output();
  catch_up();
  expect_exact();
}

TEST_F(Repair, IsWantedAgainWhereTheBrokerBringsAForeignMessageBack) {
  emit(10);
  catch_up();
  nats_client().publish("shop.intruder", "hello");
  ASSERT_TRUE(nats_.stop());
  fs::copy(nats_.store(), folder_ / "earlier", fs::copy_options::recursive);
  nats_.start();
  ASSERT_EQ(repair({"--void-after", "10"}), 0) << output();
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  fs::remove_all(nats_.store());
  fs::rename(folder_ / "earlier", nats_.store());
  nats_.start();
  emit(2);
  expect_halt(kForeignMessage);
  ASSERT_EQ(repair({"--void-after", "10"}), 0) << output();
  catch_up();
  expect_exact();
}

TEST_F(Repair, DoesNotDeleteWhereTheStreamForbidsIt) {
  nats_client().api("STREAM.CREATE.SHOP", {{"name", kStream},
                                           {"subjects", {"shop.>"}},
                                           {"discard", "new"},
                                           {"deny_delete", true},
                                           {"duplicate_window", 1'000'000'000}});
  emit(10);
  catch_up();
  nats_client().publish("shop.intruder", "hello");
  EXPECT_EQ(repair({"--dry-run"}), 1) << output();
  EXPECT_NE(output().find("refused     stream \"SHOP\" was made with deny_delete"),
            std::string::npos)
      << output();
  EXPECT_EQ(repair({"--void-after", "10"}), 28) << output();
  EXPECT_NE(output().find("deny_delete"), std::string::npos) << output();
  EXPECT_EQ(sql("SELECT repair IS NULL FROM outbox.checkpoint"), "t") << "nothing has begun";
}

// nats-server does not answer whoever lacks the right.
TEST_F(Repair, LeavesNoMarkWhereItsUserMayNotDelete) {
  emit(10);
  catch_up();
  nats_client().publish("shop.intruder", "hello");
  expect_halt(kForeignMessage);
  ASSERT_TRUE(nats_.stop());
  nats_.options().settings = {
      R"(authorization { users = [
           { user: relay, password: p,
             permissions: { publish: { deny: "$JS.API.STREAM.MSG.DELETE.>" } } }
           { user: reader, password: p, permissions: {
               publish: [ "$JS.API.STREAM.INFO.SHOP", "$JS.API.STREAM.MSG.GET.SHOP",
                          "$JS.API.CONSUMER.CREATE.SHOP", "$JS.API.CONSUMER.MSG.NEXT.SHOP.*",
                          "$JS.API.CONSUMER.DELETE.SHOP.*" ]
               subscribe: [ "_INBOX.>", "POSTRIDER.covered.shop" ] } }
           { user: repair, password: p, permissions: {
               publish: [ "$JS.API.STREAM.INFO.SHOP", "$JS.API.STREAM.MSG.GET.SHOP",
                          "$JS.API.CONSUMER.CREATE.SHOP", "$JS.API.CONSUMER.MSG.NEXT.SHOP.*",
                          "$JS.API.CONSUMER.DELETE.SHOP.*", "$JS.API.STREAM.MSG.DELETE.SHOP" ]
               subscribe: [ "_INBOX.>", "POSTRIDER.covered.shop" ] } } ] })"};
  nats_.start();
  const auto password = folder_ / "password";
  std::ofstream(password) << "p";
  fs::permissions(password, fs::perms::owner_read);
  auto settings = quick();
  settings["nats.user"] = "\"relay\"";
  settings["nats.password_file"] = "\"" + password.string() + "\"";
  EXPECT_EQ(repair({"--void-after", "10"}, settings), kNoPermission) << output();
  EXPECT_EQ(sql("SELECT repair IS NULL FROM outbox.checkpoint"), "t")
      << "nothing was deleted, and the word may be another";
  // With the rights that docs/operating.md lists, and no more.
  EXPECT_EQ(repair({"--dry-run", "--set", "nats.user=reader"}, settings), 1) << output();
  EXPECT_NE(output().find("--void-after 10 "), std::string::npos) << output();
  ASSERT_EQ(repair({"--void-after", "10", "--set", "nats.user=repair"}, settings), 0) << output();
  ASSERT_TRUE(nats_.stop());
  nats_.options().settings = {};
  nats_.start();
  emit(5);
  catch_up();
  expect_exact();
}

// Of a stream that nothing may take from the front of: what follows would come before what is sent
// again.
TEST_F(Repair, OfAYoungStreamThatLostItsFront) {
  for (int i = 0; i < 10; ++i) emit(1);
  catch_up(unconfirmed());
  for (int seq = 1; seq <= 3; ++seq) nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", seq}});
  expect_halt(kDurableEventsLost, unconfirmed());
  EXPECT_EQ(repair({}, unconfirmed()), 1) << output();
  EXPECT_NE(output().find("lacks messages up to sequence 3"), std::string::npos) << output();
  EXPECT_NE(output().find("delete      7 void messages"), std::string::npos) << output();
  EXPECT_NE(output().find("send again  10 events"), std::string::npos) << output();
  EXPECT_NE(output().find("--void-after 0 "), std::string::npos) << output();
  ASSERT_EQ(repair({"--void-after", "0"}, unconfirmed()), 0) << output();
  emit(2);
  catch_up();
  expect_exact();
}

TEST_F(Repair, IsRefusedWhileARelayRuns) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << relay->log();
  EXPECT_EQ(repair(), 75) << output();
  EXPECT_NE(output().find("stop it first"), std::string::npos) << output();
  emit(10);
  ASSERT_TRUE(wait_for_seq(20)) << relay->log();
}

TEST_F(Repair, LooksOnBesideARelayInADryRun) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << relay->log();
  EXPECT_EQ(repair({"--dry-run"}), 0) << output();
  EXPECT_NE(output().find("nothing to repair"), std::string::npos) << output();
  emit(10);
  ASSERT_TRUE(wait_for_seq(20)) << relay->log();
  EXPECT_EQ(sql("SELECT session FROM outbox.checkpoint"), "1") << "the relay's session goes on";
}

class RepairKilledAt : public Repairing<World>,
                       public ::testing::WithParamInterface<const char*> {};

TEST_P(RepairKilledAt, IsDoneByTheNextRun) {
  emit(40);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  emit(6);
  catch_up(unconfirmed());
  nats_client().publish("shop.intruder", "1");
  nats_client().publish("shop.intruder", "2");
  drop_slot();
  emit(30);
  const std::string point = GetParam();
  RelayProcess killed(write_config(quick(), "killed"), folder_ / "killed.log", point + "=kill",
                      {"--void-after", "43", "--void-more"}, "repair");
  ASSERT_EQ(killed.wait(kPatience), 128 + SIGKILL) << "not reached; " << killed.log();
  emit(3);
  if (point == "repair.after_commit") {
    catch_up();
  } else {
    if (point != "repair.before_begin") {
      expect_halt(kRepairUnfinished);
      // The word was given.
      EXPECT_EQ(repair({"--dry-run"}), 1) << output();
      EXPECT_EQ(output().find("say which events are void"), std::string::npos) << output();
      ASSERT_EQ(repair(), 0) << output();
    } else {
      ASSERT_EQ(repair({"--void-after", "43", "--void-more"}), 0) << output();
    }
    catch_up();
  }
  emit(2);
  catch_up();
  expect_exact();
}

INSTANTIATE_TEST_SUITE_P(Each, RepairKilledAt,
                         ::testing::Values("repair.before_begin", "repair.after_begin",
                                           "repair.after_delete", "repair.after_drop_slot",
                                           "repair.after_make_slot", "repair.mid_ids",
                                           "repair.after_rows", "repair.before_commit",
                                           "repair.after_commit"),
                         [](const auto& point) {
                           std::string name = point.param;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

class RepairReadModel : public Repairing<ReadModelWorld> {
 protected:
  void transfer(int count) {
    for (int i = 0; i < count; ++i)
      sql("SELECT transfer('h" + std::to_string(i % 10) + "', 'h" + std::to_string(10 + i % 10) +
          "', 7, 'table')");
  }
};

TEST_F(RepairReadModel, ThatStandsBeforeWhatIsSentAgainGoesOn) {
  transfer(20);
  catch_up();
  apply_all();
  drop_slot();
  transfer(10);
  ASSERT_EQ(repair(), 0) << output();
  transfer(5);
  catch_up();
  apply_all();
  EXPECT_EQ(accounts(), expected_accounts());
}

TEST_F(RepairReadModel, ThatStandsBeforeTheHolePassesItAndOneBehindHalts) {
  transfer(20);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  apply_all();
  ASSERT_TRUE(nats_.stop());
  fs::copy(nats_.store(), folder_ / "earlier", fs::copy_options::recursive);
  nats_.start();
  transfer(10);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  const bool behind = applied_ordinal() > 40;
  ASSERT_FALSE(behind);
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  fs::remove_all(nats_.store());
  fs::rename(folder_ / "earlier", nats_.store());
  nats_.start();
  ASSERT_EQ(repair(), 0) << output();
  catch_up();
  apply_all();
  EXPECT_EQ(accounts(), expected_accounts());
  EXPECT_EQ(applied_ordinal(), 80U);  // 41-60 were given up

  // Now it has applied what is lost.
  transfer(5);
  ASSERT_NO_FATAL_FAILURE(carry_until_confirmed());
  apply_all();
  nats_client().api("STREAM.DELETE.SHOP");
  ASSERT_EQ(repair(), 0) << output();
  catch_up();
  const auto applier = start_applier({}, "halting", {}, {"--until-caught-up"});
  EXPECT_EQ(applier->wait(kPatience), kHistoryDiffers) << applier->log();
  EXPECT_NE(applier->log().find("given up by a repair"), std::string::npos) << applier->log();
  EXPECT_NE(applier->log().find("apply rebuild"), std::string::npos) << applier->log();
}

class RepairReplica : public Repairing<ReplicaWorld> {};

// Changes of captured tables have no row in the outbox: the tables are sent again whole.
TEST_F(RepairReplica, IsReplacedByABackfill) {
  const std::string table = "CREATE TABLE item (id int PRIMARY KEY, v int)";
  sql(table);
  applier_sql(table);
  replicate("[[capture]]\ntables = [\"public.*\"]\n", "[[replica]]\n");
  sql("GRANT SELECT, UPDATE ON item TO owner");
  sql("INSERT INTO item SELECT g, g FROM generate_series(1, 50) g");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  drop_slot();
  sql("DELETE FROM item WHERE id <= 20");
  sql("UPDATE item SET v = -1 WHERE id > 40");
  sql("INSERT INTO item VALUES (100, 100)");
  EXPECT_EQ(postrider({"repair", "--dry-run", "--config", replica_config("repair")}), 1);
  EXPECT_NE(output().find("backfill    public.item: to be ordered"), std::string::npos) << output();
  ASSERT_EQ(postrider({"repair", "--config", replica_config("repair")}), 0) << output();
  EXPECT_NE(output().find("backfill    public.item: ordered"), std::string::npos) << output();
  sql("UPDATE item SET v = -2 WHERE id = 30");
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

// What is left of the publication is not what should be in it: `migrate up` knows that.
TEST_F(RepairReplica, IsRefusedWhileTheCapturePublicationIsAltered) {
  const std::string table = "CREATE TABLE item (id int PRIMARY KEY, v int)";
  sql(table);
  applier_sql(table);
  replicate("[[capture]]\ntables = [\"public.*\"]\n", "[[replica]]\n");
  sql("GRANT SELECT, UPDATE ON item TO owner");
  sql("INSERT INTO item SELECT g, g FROM generate_series(1, 20) g");
  ASSERT_EQ(carry(), 0) << applied_log();
  sql("ALTER PUBLICATION postrider_capture DROP TABLE public.item");
  sql("DELETE FROM item WHERE id <= 5");
  {
    const auto relay = start("relay");
    EXPECT_EQ(relay->wait(kPatience), kPublicationMissing) << relay->log();
  }
  EXPECT_EQ(postrider({"repair", "--config", replica_config("repair")}), kPublicationMissing)
      << output();
  EXPECT_NE(output().find("postrider migrate up"), std::string::npos) << output();
  EXPECT_EQ(sql("SELECT repair IS NULL FROM outbox.checkpoint"), "t") << "nothing has begun";
  ASSERT_EQ(postrider({"migrate", "up", "--config", replica_config("up")}), 0) << output();
  ASSERT_EQ(postrider({"repair", "--resend", "--config", replica_config("repair")}), 0) << output();
  EXPECT_NE(output().find("backfill    public.item: ordered"), std::string::npos) << output();
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

// `migrate up` makes it again and vouches for it, but WAL from before is decoded without.
TEST_F(RepairReplica, IsReplacedWhereItsPublicationWasDroppedAndMadeAgain) {
  const std::string table = "CREATE TABLE item (id int PRIMARY KEY, v int)";
  sql(table);
  applier_sql(table);
  replicate("[[capture]]\ntables = [\"public.*\"]\n", "[[replica]]\n");
  sql("GRANT SELECT, UPDATE ON item TO owner");
  sql("INSERT INTO item SELECT g, g FROM generate_series(1, 20) g");
  ASSERT_EQ(carry(), 0) << applied_log();
  sql("DROP PUBLICATION postrider_capture");
  sql("DELETE FROM item WHERE id <= 5");
  for (int round = 0; round < 2; ++round) {
    const auto relay = start("relay");
    EXPECT_EQ(relay->wait(kPatience), kPublicationMissing) << relay->log();
    ASSERT_EQ(postrider({"migrate", "up", "--config", replica_config("up")}), 0) << output();
  }
  ASSERT_EQ(postrider({"repair", "--config", replica_config("repair")}), 0) << output();
  EXPECT_NE(output().find("was made anew"), std::string::npos) << output();
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

}  // namespace
}  // namespace postrider::test
