// PostgreSQL fails over to a physical standby: with the slot (from 17 on) or without, before or
// behind commits that were published.
#include <atomic>
#include <thread>

#include "tests/support/standby.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kTimelineDiverged = 22;
constexpr int kSlotMissing = 23;

// One writer, whose events are numbered; what is committed is in table `numbers`.
class Numbers {
 public:
  explicit Numbers(std::string conninfo)
      : conninfo_(std::move(conninfo)), thread_([this] { run(); }) {}
  ~Numbers() {
    stop_ = true;
    thread_.join();
  }
  [[nodiscard]] int committed() const { return committed_; }

 private:
  // Each on a connection of its own: to the server that may be written to, when there is one.
  void run() {
    for (int n = 1; !stop_; ++n) {
      const auto text = std::to_string(n);
      try {
        query(conninfo_, "WITH number AS (INSERT INTO numbers VALUES (" + text +
                             ")) SELECT outbox.emit('n', '" + text + "')");
        committed_ = n;
      } catch (const std::runtime_error&) {
        dev::pause_between_polls();  // away, or in doubt: the table says
      }
    }
  }

  const std::string conninfo_;
  std::atomic<bool> stop_{false};
  std::atomic<int> committed_{0};
  std::thread thread_;
};

class PhysicalStandby : public World {
 protected:
  PhysicalStandby() {
    sql("CREATE TABLE numbers (n bigint PRIMARY KEY)");
    sql("GRANT INSERT ON numbers TO app");
    standby_ = std::make_unique<Standby>(postgres_, folder_ / "standby", "shop");
  }

  // Of a relay, and of commands, that find whichever server is the primary.
  Settings anywhere() {
    auto settings = quick();
    settings["source.conninfo"] = "\"" + standby_->writable_conninfo("relay", "shop") + "\"";
    settings["migrate.conninfo"] = "\"" + standby_->writable_conninfo("owner", "shop") + "\"";
    return settings;
  }
  int command(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--config", write_config(anywhere(), "command").string()});
    return postrider(arguments);
  }
  // On the primary of the moment.
  std::string ask(const std::string& statement) {
    return query(standby_->writable_conninfo("postgres", "shop"), statement);
  }
  void add(int numbers, int first) {
    for (int n = first; n < first + numbers; ++n)
      ask("WITH number AS (INSERT INTO numbers VALUES (" + std::to_string(n) +
          ")) SELECT outbox.emit('n', '" + std::to_string(n) + "')");
  }
  std::string in_stream() {
    std::string numbers;
    if (last_seq() == 0) return numbers;
    for (const auto& message : nats_client().read_stream(kStream)) numbers += message.data + " ";
    return numbers;
  }
  std::string in_table() {
    return ask("SELECT coalesce(string_agg(n || ' ', '' ORDER BY n), '') FROM numbers");
  }
  void expect_exact(const RelayProcess& relay) {
    EXPECT_TRUE(dev::wait_until([&] { return in_stream() == in_table(); }, kPatience))
        << relay.log();
    EXPECT_EQ(in_stream(), in_table());
    EXPECT_EQ(command({"verify", "stream"}), 0) << output();
    EXPECT_TRUE(relay.running()) << relay.log();
  }

  std::unique_ptr<Standby> standby_;
};

TEST_F(PhysicalStandby, PromotedWithoutTheSlotHaltsAndARepairCarriesOn) {
  auto relay = start_relay(anywhere());
  add(50, 1);
  ASSERT_TRUE(wait_for_seq(50)) << relay->log();
  standby_->wait_until_caught_up();
  standby_->replace_primary();
  add(20, 51);  // nobody carries them yet
  EXPECT_EQ(relay->wait(kPatience), kSlotMissing) << relay->log();
  EXPECT_NE(relay->log().find("postrider repair"), std::string::npos) << relay->log();
  ASSERT_EQ(command({"repair"}), 0) << output();
  relay = start_relay(anywhere());
  add(20, 71);
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
}

TEST_F(PhysicalStandby, PromotedBeforePublishedCommitsHaltsUntilTheyAreGivenUp) {
  auto relay = start_relay(anywhere());
  add(50, 1);
  ASSERT_TRUE(wait_for_seq(50)) << relay->log();
  standby_->wait_until_caught_up();
  standby_->hold_back();
  add(10, 51);  // published, and soon void
  ASSERT_TRUE(wait_for_seq(60)) << relay->log();
  standby_->replace_primary();
  add(20, 101);
  EXPECT_EQ(relay->wait(kPatience), kTimelineDiverged) << relay->log();
  EXPECT_EQ(last_seq(), 60U) << "nothing of the new timeline may be published";
  ASSERT_EQ(command({"repair", "--void-after", "50"}), 0) << output();
  relay = start_relay(anywhere());
  add(20, 121);
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
}

// From PostgreSQL 17 on: label postgresql17, run by ctest -C postgresql-17.
class FailoverSlot : public PhysicalStandby {
 protected:
  FailoverSlot() { set("synchronized_standby_slots", Standby::kSlot); }
  // Of the primary alone.
  void set(const std::string& name, const std::string& value) {
    sql("ALTER SYSTEM SET " + name + " = '" + value + "'");
    sql("SELECT pg_reload_conf()");
    ASSERT_TRUE(dev::wait_until([&] { return sql("SHOW " + name) == value; }, kPatience));
  }
  std::string slot(const std::string& column) {
    return ask("SELECT " + column +
               " FROM pg_replication_slots WHERE slot_name = 'postrider_shop'");
  }
};

TEST_F(FailoverSlot, IsMadeByMigrateAndByARepair) {
  EXPECT_EQ(slot("failover"), "t");
  add(5, 1);
  ask("SELECT pg_drop_replication_slot('postrider_shop')");
  ASSERT_EQ(command({"repair"}), 0) << output();
  EXPECT_EQ(slot("failover"), "t");
  const auto relay = start_relay(anywhere());
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
}

TEST_F(FailoverSlot, TheRelayGoesOnByItselfWhenTheStandbyIsPromoted) {
  const auto relay = start_relay(anywhere());
  {
    const Numbers numbers(standby_->writable_conninfo("app", "shop"));
    ASSERT_TRUE(wait_for_seq(100)) << relay->log();
    standby_->follow_slots(true);
    ASSERT_TRUE(dev::wait_until([&] { return standby_->has_slot("postrider_shop"); }, kPatience));
    ASSERT_TRUE(wait_for_seq(last_seq() + 50)) << relay->log();
    standby_->replace_primary();
    const int before = numbers.committed();
    ASSERT_TRUE(dev::wait_until([&] { return numbers.committed() > before + 50; }, kPatience));
  }
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
  const auto position = nats_client().read_stream(kStream).back().header("Postrider-Position");
  EXPECT_NE(position->find(" 00000002/"), std::string::npos) << *position;
  EXPECT_TRUE(dev::wait_until(
      [&] {
        return ask("SELECT ordinal = (SELECT count(*) FROM numbers) FROM outbox.checkpoint") == "t";
      },
      kPatience))
      << "nothing is confirmed on the new primary: " << relay->log();
}

// The newer slot with the older row looks like a slot that somebody has moved.
TEST_F(FailoverSlot, IsConfirmedOnlyWhenTheStandbyHasTheCheckpoint) {
  auto settings = anywhere();
  settings["relay.broker_sync_interval"] = "\"2s\"";
  const auto relay = start_relay(settings);
  int added = 0;
  standby_->follow_slots(true);
  ASSERT_TRUE(dev::wait_until(
      [&] {
        add(1, ++added);  // for the slot to move
        return standby_->has_slot("postrider_shop");
      },
      kPatience));
  standby_->follow_slots(false);
  add(10, added + 1);
  added += 10;
  ASSERT_TRUE(wait_for_seq(static_cast<std::uint64_t>(added))) << relay->log();
  standby_->hold_back();
  const std::string confirm_to = "SELECT confirm_to FROM outbox.checkpoint";
  const auto of_standby = query(standby_->server().conninfo("postgres", "shop"), confirm_to);
  ASSERT_TRUE(dev::wait_until([&] { return ask(confirm_to) != of_standby; }, kPatience))
      << relay->log();
  ASSERT_TRUE(dev::wait_until(
      [&] {
        return slot("confirmed_flush_lsn > '" + of_standby + "'") == "t" ||
               relay->log().find("a confirmation waits") != std::string::npos;
      },
      kPatience));
  standby_->follow_slots_once();
  standby_->replace_primary();
  add(10, added + 1);
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
}

TEST_F(FailoverSlot, WithoutItsStandbyNothingIsPublishedAndThatIsSaid) {
  const auto relay = start_relay(anywhere());
  add(5, 1);
  ASSERT_TRUE(wait_for_seq(5)) << relay->log();
  standby_->hold_back();
  add(5, 6);
  ASSERT_TRUE(dev::wait_until(
      [&] {
        return command({"status"}) != 0 &&
               output().find("events wait for standbys: standby") != std::string::npos;
      },
      kPatience))
      << output();
  EXPECT_EQ(last_seq(), 5U);
  standby_->let_go();
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
}

// The server warns of it with the SQLSTATE of a publication that is gone.
TEST_F(FailoverSlot, WhoseStandbyIsStoppedIsNoReasonToHalt) {
  auto relay = start_relay(anywhere());
  add(5, 1);
  ASSERT_TRUE(wait_for_seq(5)) << relay->log();
  ASSERT_TRUE(standby_->server().stop(dev::Shutdown::kFast));
  add(5, 6);
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("standby behind") != std::string::npos; }, kPatience))
      << relay->log();
  EXPECT_EQ(last_seq(), 5U);
  EXPECT_TRUE(relay->running()) << relay->log();
  relay->kill();
  relay = start_relay(anywhere());  // where it begins without the standby
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("standby slots that") != std::string::npos; }, kPatience))
      << relay->log();
  standby_->server().start();
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
  EXPECT_TRUE(dev::wait_until([&] { return command({"status"}) == 0; }, kPatience)) << output();
}

// The walsender would write warnings to a connection that nobody reads, under a lock over all
// slots.
TEST_F(FailoverSlot, IsLetGoOfWhileTheBrokerIsAwayAndAStandbyIsBehind) {
  const auto relay = start_relay(anywhere());
  add(5, 1);
  ASSERT_TRUE(wait_for_seq(5)) << relay->log();
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  add(5, 6);
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("session ended") != std::string::npos; }, kPatience))
      << relay->log();
  EXPECT_EQ(slot("active"), "t") << "while nothing is behind, the slot stays ours";
  standby_->hold_back();
  add(5, 11);
  EXPECT_TRUE(dev::wait_until([&] { return slot("active") == "f"; }, kPatience)) << relay->log();
  standby_->let_go();
  nats_.start();
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
}

TEST_F(FailoverSlot, IsLetGoOfWhileAStandbyLacksANewEpoch) {
  const auto relay = start_relay(anywhere(), "epoch.before_open=stop");
  ASSERT_TRUE(dev::wait_until([&] { return relay->stopped(); }, kPatience)) << relay->log();
  EXPECT_EQ(slot("active"), "t");
  standby_->hold_back();
  relay->resume();
  EXPECT_TRUE(dev::wait_until([&] { return slot("active") == "f"; }, kPatience)) << relay->log();
  EXPECT_TRUE(dev::wait_until(
      [&] { return relay->log().find("waiting: standby slots") != std::string::npos; }, kPatience))
      << relay->log();
  standby_->let_go();
  add(5, 1);
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
}

TEST_F(FailoverSlot, ThatNamesAStandbyWhichIsMissingWaitsAndCheckSaysSo) {
  set("synchronized_standby_slots", "nobody");
  add(5, 1);
  const auto relay = start_relay(anywhere());
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("standby slots that") != std::string::npos; }, kPatience))
      << relay->log();
  EXPECT_NE(relay->log().find(": nobody"), std::string::npos) << relay->log();
  (void)command({"check"});
  EXPECT_NE(output().find("nobody is missing or not in use"), std::string::npos) << output();
  EXPECT_EQ(last_seq(), 0U);
  set("synchronized_standby_slots", "Standby");  // which the server reads as standby
  ASSERT_NO_FATAL_FAILURE(expect_exact(*relay));
}

TEST_F(FailoverSlot, AndItsSettingAreLookedAtByCheck) {
  (void)command({"check"});
  EXPECT_NE(output().find("synchronized_standby_slots"), std::string::npos) << output();
  EXPECT_EQ(output().find("failover off"), std::string::npos) << output();
  set("synchronized_standby_slots", "");
  (void)command({"check"});
  EXPECT_NE(output().find("(empty), with standbys at standby"), std::string::npos) << output();
  ask("SELECT pg_drop_replication_slot('postrider_shop')");
  ask("SELECT pg_create_logical_replication_slot('postrider_shop', 'pgoutput')");
  (void)command({"check"});
  EXPECT_NE(output().find("has failover off"), std::string::npos) << output();
}

}  // namespace
}  // namespace postrider::test
