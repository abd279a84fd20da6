// outbox.maintain(): partitions ahead, and nothing dropped that is not durable.
#include <gtest/gtest.h>

#include <string>

#include "service_database.h"

namespace postrider::testing {
namespace {

class Maintain : public ::testing::Test {
 protected:
  std::string value(const std::string& statement) { return database.run("owner", statement); }
  std::string maintain(const std::string& field) {
    return database.run("relay", "SELECT outbox.maintain()->>'" + field + "'");
  }
  std::string emit() { return database.run("app", "SELECT outbox.emit('s', '{}')"); }
  // As if the clock were 40 days on: none of the partitions that were made ahead is left.
  void drop_daily_partitions() {
    value(
        "DO $$ DECLARE n text; BEGIN FOR n IN DELETE FROM outbox.partitions WHERE name <> "
        "'events_default' "
        "RETURNING name LOOP EXECUTE 'DROP TABLE outbox.' || n; END LOOP; END $$");
  }
  // A partition of nine days ago with one row; its name.
  std::string make_old_partition() {
    value("SELECT outbox.make_partition((now() AT TIME ZONE 'UTC')::date - 9)");
    insert_old_row();
    return value("SELECT to_char((now() AT TIME ZONE 'UTC')::date - 9, '\"events_\"YYYYMMDD')");
  }
  void insert_old_row() {
    value(
        "INSERT INTO outbox.events (created_at, subject, payload) VALUES (now() - interval '9 "
        "days', 's', '{}')");
  }
  void everything_is_durable() {
    value("UPDATE outbox.checkpoint SET confirm_to = pg_current_wal_insert_lsn()");
  }
  bool exists(const std::string& partition) {
    return value("SELECT to_regclass('outbox." + partition + "') IS NOT NULL") == "t";
  }

  ServiceDatabase database;
};

TEST_F(Maintain, MigrateLeavesPartitionsAhead) {
  EXPECT_EQ(
      value("SELECT count(*) FROM outbox.partitions WHERE to_time > now() AND from_time < now() + "
            "interval '14 days'"),
      "15");
  emit();
  EXPECT_EQ(value("SELECT count(*) FROM outbox.events_default"), "0");
}

TEST_F(Maintain, MakesThePartitionsThatAreMissing) {
  drop_daily_partitions();
  EXPECT_EQ(maintain("partitions_made"), "15");
  EXPECT_EQ(maintain("partitions_made"), "0");
}

TEST_F(Maintain, PartitionsAreReadableByTheRelay) {
  drop_daily_partitions();
  maintain("partitions_made");
  EXPECT_EQ(value("SELECT count(*) FROM outbox.partitions WHERE name <> 'events_default' AND NOT "
                  "has_table_privilege('relay', 'outbox.' || name, 'SELECT')"),
            "0");
}

TEST_F(Maintain, EmitWorksAfterFortyDaysWithoutMaintenance) {
  drop_daily_partitions();
  emit();
  EXPECT_EQ(value("SELECT count(*) FROM outbox.events_default"), "1");
  // Today stays with the default partition, which holds rows of it; the days ahead get their own.
  EXPECT_EQ(maintain("partitions_made"), "14");
  emit();
  EXPECT_EQ(value("SELECT count(*) FROM outbox.events"), "2");
  value(
      "INSERT INTO outbox.events (created_at, subject, payload) VALUES (now() + interval '1 day', "
      "'s', '{}')");
  EXPECT_EQ(value("SELECT count(*) FROM outbox.events_default"), "2");
}

TEST_F(Maintain, PartitionIsDroppedOnlyWhenDurableIsPastIt) {
  const std::string old = make_old_partition();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(maintain("dropped"), "[]");
  EXPECT_TRUE(exists(old));
  EXPECT_NE(value("SELECT sealed_lsn FROM outbox.partitions WHERE name = '" + old + "'"), "");
  everything_is_durable();
  EXPECT_EQ(maintain("dropped"), "[\"" + old + "\"]");
  EXPECT_FALSE(exists(old));
}

TEST_F(Maintain, PartitionIsNotSealedWhileATransactionThatWroteIntoItIsOpen) {
  const std::string old = make_old_partition();
  const std::string sealed = "SELECT sealed_lsn FROM outbox.partitions WHERE name = '" + old + "'";
  pqxx::connection other(database.conninfo("owner"));
  pqxx::work open(other);
  open.exec(
      "INSERT INTO outbox.events (created_at, subject, payload) VALUES (now() - interval '9 days', "
      "'s', '{}')");
  value("SELECT pg_current_xact_id()");  // a later transaction that has ended
  for (int i = 0; i < 3; ++i) maintain("sealed");
  EXPECT_EQ(value(sealed), "");
  everything_is_durable();
  open.commit();
  // Sealed only now, beyond what was durable: the row that has just been committed is not.
  for (int i = 0; i < 2; ++i) EXPECT_EQ(maintain("dropped"), "[]");
  EXPECT_NE(value(sealed), "");
  everything_is_durable();
  EXPECT_EQ(maintain("dropped"), "[\"" + old + "\"]");
}

TEST_F(Maintain, RowsWrittenAfterTheSealUnsealThePartition) {
  const std::string old = make_old_partition();
  for (int i = 0; i < 2; ++i) maintain("sealed");
  insert_old_row();
  everything_is_durable();
  EXPECT_EQ(maintain("unsealed"), "[\"" + old + "\"]");
  EXPECT_TRUE(exists(old));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(maintain("dropped"), "[]");
  everything_is_durable();
  EXPECT_EQ(maintain("dropped"), "[\"" + old + "\"]");
}

TEST_F(Maintain, PartitionWithinRetentionStays) {
  value("UPDATE outbox.settings SET retention = '30 days'");
  const std::string old = make_old_partition();
  for (int i = 0; i < 3; ++i) maintain("sealed");
  everything_is_durable();
  EXPECT_EQ(maintain("dropped"), "[]");
  EXPECT_TRUE(exists(old));
}

TEST_F(Maintain, RowsOfTheDefaultPartitionGoOnlyWhenDurable) {
  value(
      "INSERT INTO outbox.events (created_at, subject, payload) VALUES (now() - interval '20 "
      "days', 's', '{}')");
  emit();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(maintain("default_rows_deleted"), "0");
  everything_is_durable();
  int deleted = 0;
  for (int i = 0; i < 3; ++i) deleted += std::stoi(maintain("default_rows_deleted"));
  EXPECT_EQ(deleted, 1);
  EXPECT_EQ(value("SELECT count(*) FROM outbox.events"), "1");
}

TEST_F(Maintain, WaitsForABusyLockOnceAndDoesTheRestLater) {
  drop_daily_partitions();
  pqxx::connection other(database.conninfo("app"));
  pqxx::work writer(other);
  writer.exec("SELECT outbox.emit('s', '{}')");
  const auto start = value("SELECT clock_timestamp()");
  EXPECT_EQ(maintain("partitions_made"), "0");
  // One lock_timeout of 1 s, not one for each of 15 partitions: writers queue behind it.
  EXPECT_EQ(value("SELECT clock_timestamp() - '" + start + "'::timestamptz < interval '5 s'"), "t");
  writer.commit();
  EXPECT_EQ(maintain("partitions_made"), "14");
}

// After a long absence: each partition made reads all of the default one while writers wait.
class LargeDefault : public Maintain {
 protected:
  void fill(int rows, int bytes) {
    drop_daily_partitions();
    // Of days that get no partition any more.
    value(
        "INSERT INTO outbox.events (created_at, subject, payload) SELECT now() - interval '20 "
        "days', 's', to_jsonb(repeat('x', " +
        std::to_string(bytes) + ")) FROM generate_series(1, " + std::to_string(rows) + ")");
  }
};

TEST_F(LargeDefault, GetsItsPartitionsAFewInEachCall) {
  fill(200'000, 60);
  int made = 0;
  int calls = 0;
  for (; made < 15 && calls < 15; ++calls) {
    const int now = std::stoi(maintain("partitions_made"));
    EXPECT_GT(now, 0);
    EXPECT_LT(now, 8) << "a call reads the default partition for each";
    made += now;
  }
  EXPECT_EQ(made, 15);
}

TEST_F(LargeDefault, BeyondTheBoundIsLeftAloneAndSaysSo) {
  fill(200'000, 900);
  EXPECT_EQ(maintain("partitions_made"), "0");
  EXPECT_EQ(maintain("default_too_large"), "true");
  emit();
}

TEST_F(LargeDefault, IsLookedUpByAnIndex) {
  fill(20'000, 60);
  value("ANALYZE outbox.events_default");
  EXPECT_NE(database
                .run("owner",
                     "EXPLAIN SELECT 1 FROM outbox.events_default WHERE created_at >= now() AND "
                     "created_at < now() + interval '1 day'")
                .find("Index"),
            std::string::npos);
}

// It is read from end to end: hours of events, gigabytes.
TEST_F(Maintain, NobodyElseWaitsWhileAnOldDayIsRead) {
  const std::string old = make_old_partition();
  for (int i = 0; i < 2; ++i) maintain("sealed");
  pqxx::connection other(database.conninfo("owner"));
  pqxx::work reading(other);
  EXPECT_EQ(reading.exec("SELECT outbox.is_droppable('" + old + "')")[0][0].as<std::string>(), "t");
  EXPECT_EQ(reading
                .exec("SELECT count(*) FROM pg_locks WHERE relation = 'outbox.events'::regclass "
                      "AND pid = pg_backend_pid() AND mode <> 'AccessShareLock'")[0][0]
                .as<int>(),
            0);
  EXPECT_EQ(reading.exec("SELECT pg_current_xact_id_if_assigned() IS NULL")[0][0].as<std::string>(),
            "t")
      << "new slots, and backfills, would wait for it";
  emit();
  // A late row of that very day waits, and gives the drop no chance to lose it.
  EXPECT_THROW(value("SET lock_timeout = '100ms'; INSERT INTO outbox.events (created_at, subject, "
                     "payload) VALUES (now() - interval '9 days', 's', '{}')"),
               pqxx::sql_error);
}

TEST_F(Maintain, APartitionThatCannotBeLockedIsDroppedTheNextTime) {
  const std::string old = make_old_partition();
  for (int i = 0; i < 2; ++i) maintain("sealed");
  everything_is_durable();
  {
    pqxx::connection other(database.conninfo("app"));
    pqxx::work writer(other);
    writer.exec("SELECT outbox.emit('s', '{}')");
    EXPECT_EQ(maintain("dropped"), "[]");
    EXPECT_TRUE(exists(old));
  }
  EXPECT_EQ(maintain("dropped"), "[\"" + old + "\"]");
}

TEST_F(Maintain, SecondCallerLeavesItToTheFirst) {
  pqxx::connection other(database.conninfo("relay"));
  pqxx::work first(other);
  first.exec("SELECT outbox.maintain()");
  EXPECT_EQ(maintain("skipped"), "another maintain is running");
}

}  // namespace
}  // namespace postrider::testing
