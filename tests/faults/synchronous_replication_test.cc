// Commits that wait for a standby which never answers: the relay must neither be the one that is
// waited for, nor wait without an end itself.
#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{30'000};

class SynchronousReplication : public World {
 protected:
  // Takes effect at the next start or reload.
  void wait_for_standby(const std::string& names) {
    sql("ALTER SYSTEM SET synchronous_standby_names = '" + names + "'");
  }
  void reload() { sql("SET synchronous_commit = local; SELECT pg_reload_conf()"); }
  // Backends of relay sessions whose commit waits.
  std::string waiting() {
    return sql(
        "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity "
        "WHERE application_name = 'postrider shop' AND wait_event = 'SyncRep'");
  }
};

TEST_F(SynchronousReplication, ThatNamesTheRelayIsRefusedAlsoWhenPostgresWasAwayAtItsStart) {
  catch_up();
  const auto session = sql("SELECT session FROM outbox.checkpoint");
  wait_for_standby("postrider_shop");
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast));
  const auto relay = start_relay();
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("session ended: postgres_unavailable") != std::string::npos; },
      kPatience))
      << relay->log();
  postgres_.start();
  EXPECT_EQ(relay->wait(kPatience), 37) << relay->log();
  EXPECT_NE(relay->log().find("synchronous_standby_names"), std::string::npos) << relay->log();
  EXPECT_EQ(sql("SELECT session FROM outbox.checkpoint"), session) << "nothing may be written";
}

TEST_F(SynchronousReplication, ThatNobodyAnswersDoesNotKeepTheRelayFromStopping) {
  catch_up();
  wait_for_standby("elsewhere");
  reload();
  auto relay = start_relay();
  ASSERT_TRUE(dev::wait_until([&] { return !waiting().empty(); }, kPatience)) << relay->log();
  const auto stuck = waiting();
  relay->terminate();
  EXPECT_EQ(relay->wait(std::chrono::milliseconds(8000)), 0) << relay->log();
  // What the stopped one left behind in PostgreSQL holds the row: the next ends it.
  relay = start_relay();
  EXPECT_TRUE(dev::wait_until(
      [&] {
        const auto now = waiting();
        return !now.empty() && now.find(stuck) == std::string::npos;
      },
      kPatience))
      << relay->log();
  // Once the standby is back, or no longer asked for, everything goes on.
  wait_for_standby("");
  reload();
  app_sql("SELECT count(outbox.emit('e.'||g, to_jsonb(g))) FROM generate_series(1, 1000) g");
  EXPECT_TRUE(wait_for_seq(1000)) << relay->log();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

// The confirmation's own commit, on its thread.
TEST_F(SynchronousReplication, ThatStopsAnsweringWhileARelayRunsDoesNotKeepItFromStopping) {
  const auto relay = start_relay();
  app_sql("SELECT count(outbox.emit('e.'||g, to_jsonb(g))) FROM generate_series(1, 100) g");
  ASSERT_TRUE(wait_for_seq(100));
  wait_for_standby("elsewhere");
  reload();
  app_sql(
      "SET synchronous_commit = local; "
      "SELECT count(outbox.emit('e.'||g, to_jsonb(g))) FROM generate_series(1, 100) g");
  ASSERT_TRUE(dev::wait_until([&] { return !waiting().empty(); }, kPatience)) << relay->log();
  relay->terminate();
  EXPECT_EQ(relay->wait(std::chrono::milliseconds(8000)), 0) << relay->log();
}

}  // namespace
}  // namespace postrider::test
