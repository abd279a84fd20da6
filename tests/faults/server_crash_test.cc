// PostgreSQL and nats-server are killed with SIGKILL, or cut off.
#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{30'000};

class ServerCrash : public World {
 protected:
  std::string confirmed() {
    return sql(
        "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = "
        "'postrider_shop'");
  }
};

TEST_F(ServerCrash, NatsServerKilledUnderLoad) {
  catch_up();
  Workload workload(writers());
  const auto relay = start_relay();
  for (int round = 0; round < 4; ++round) {
    const auto before = last_seq();
    ASSERT_TRUE(wait_for_seq(before + 500)) << relay->log();
    ASSERT_TRUE(nats_.stop(/*kill=*/true));
    workload.wait_for_more(30);
    nats_.start();
  }
  workload.wait_for_more(100);
  workload.stop();
  EXPECT_TRUE(relay->running()) << relay->log();
  relay->kill();
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_GT(found.expected, 2000U);
}

TEST_F(ServerCrash, PostgresKilledAfterAConfirmationFallsBackAndNothingIsDoubled) {
  catch_up();
  // The slot's place on disk is from the last checkpoint of the server: make that old.
  sql("CHECKPOINT");
  const auto relay = start_relay();
  int fell_back = 0;
  for (int round = 0; round < 4; ++round) {
    const auto at_start = confirmed();
    {
      Workload workload(writers());
      workload.wait_for_more(200);
    }
    ASSERT_TRUE(dev::wait_until(
        [&] { return sql("SELECT '" + confirmed() + "'::pg_lsn > '" + at_start + "'") == "t"; },
        kPatience))
        << relay->log();
    const auto before = confirmed();
    ASSERT_TRUE(postgres_.stop(dev::Shutdown::kKill));
    postgres_.start();
    // The server also saves the slot when its restart_lsn moves, so not every round falls back.
    if (sql("SELECT '" + confirmed() + "'::pg_lsn < '" + before + "'") == "t") ++fell_back;
  }
  EXPECT_GT(fell_back, 0) << "the slot never fell back, so this shows nothing";
  relay->kill();
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_GT(found.expected, 1000U);
}

// The slot is confirmed past the events of a transaction that is not committed yet.
TEST_F(ServerCrash, WhatWasPreparedBeforeItIsCarriedWhereItCommits) {
  const auto emit = [](const std::string& subject) {
    return "INSERT INTO written SELECT outbox.emit('" + subject + "', '{}'), '" + subject +
           "', '{}'; ";
  };
  auto relay = start_relay();
  app_sql("BEGIN; " + emit("prepared") + emit("prepared") + "PREPARE TRANSACTION 'p'");
  const auto prepared = sql("SELECT pg_current_wal_insert_lsn()");
  app_sql(emit("before"));
  ASSERT_TRUE(dev::wait_until(
      [&] {
        return sql("SELECT ordinal = 1 AND '" + confirmed() + "' > pg_lsn '" + prepared +
                   "' FROM outbox.checkpoint") == "t";
      },
      kPatience))
      << relay->log();
  sql("CHECKPOINT");  // writes down the slot's place, and what is prepared
  relay->kill();
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kImmediate));
  postgres_.start();
  EXPECT_EQ(sql("SELECT '" + confirmed() + "' > pg_lsn '" + prepared + "'"), "t");
  relay = start_relay();
  app_sql(emit("after"));
  ASSERT_TRUE(wait_for_seq(2)) << relay->log();
  app_sql("COMMIT PREPARED 'p'");
  app_sql(emit("end"));
  ASSERT_TRUE(wait_for_seq(5)) << relay->log();
  std::string order;
  for (const auto& message : nats_client().read_stream(kStream)) order += message.subject + " ";
  EXPECT_EQ(order, "shop.before shop.after shop.prepared shop.prepared shop.end ");
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

TEST_F(ServerCrash, PostgresKilledUnderLoad) {
  catch_up();
  Workload workload(writers());
  const auto relay = start_relay();
  for (int round = 0; round < 3; ++round) {
    const auto before = last_seq();
    ASSERT_TRUE(wait_for_seq(before + 500)) << relay->log();
    ASSERT_TRUE(postgres_.stop(dev::Shutdown::kKill));
    postgres_.start();
  }
  workload.wait_for_more(100);
  workload.stop();
  relay->kill();
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

TEST_F(ServerCrash, TerminatedBackendsOfTheRelayAreMadeAgain) {
  catch_up();
  Workload workload(writers());
  const auto relay = start_relay();
  for (int round = 0; round < 10; ++round) {
    const auto before = last_seq();
    ASSERT_TRUE(wait_for_seq(before + 100)) << relay->log();
    // In turn the walsender, and every backend of the relay at once.
    sql(std::string("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = "
                    "'relay'") +
        (round % 2 == 0 ? " AND backend_type = 'walsender'" : ""));
  }
  workload.stop();
  EXPECT_TRUE(relay->running()) << relay->log();
  relay->kill();
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

}  // namespace
}  // namespace postrider::test
