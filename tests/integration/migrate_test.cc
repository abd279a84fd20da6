// `postrider migrate`, by the functions behind its commands.
#include "daemon/migrate/migrate.h"

#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <sstream>
#include <string>

#include "base/error.h"
#include "dev/process.h"
#include "migrations/migrations.h"
#include "relay/postgres/source.h"
#include "service_database.h"

namespace postrider::testing {
namespace {

class Migrate : public ::testing::Test {
 protected:
  std::string up() {
    std::ostringstream out;
    migrate_up(database.options(), out);
    return out.str();
  }
  std::string down(bool drop_slot) {
    std::ostringstream out;
    migrate_down(database.options(), drop_slot, out);
    return out.str();
  }
  std::string slots() {
    return database.run(
        "relay", "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()");
  }
  std::string schemas() {
    return database.run("owner", "SELECT count(*) FROM pg_namespace WHERE nspname = 'outbox'");
  }

  ServiceDatabase database{ServiceDatabase::Migrated::kNo};
};

// The error of `body`, which must fail.
template <class Body>
Error failure_of(Body body) {
  try {
    body();
  } catch (const Failure& failure) {
    return failure.error();
  }
  ADD_FAILURE() << "it succeeded";
  return {};
}

TEST_F(Migrate, TwoUpsAtOnceBothSucceedAndApplyOnce) {
  auto first = std::async(std::launch::async, [&] { return up(); });
  auto second = std::async(std::launch::async, [&] { return up(); });
  const std::string both = first.get() + second.get();
  EXPECT_EQ(database.run("owner", "SELECT count(*) FROM outbox.schema_migrations"),
            std::to_string(service_migrations().size()));
  EXPECT_EQ(both.find("created   slot"), both.rfind("created   slot"));
  EXPECT_EQ(slots(), "1");
  EXPECT_FALSE(database.run("app", "SELECT outbox.emit('s', '{}')").empty());
}

TEST_F(Migrate, SecondUpChangesNothing) {
  up();
  EXPECT_EQ(up().find("applied"), std::string::npos);
  std::ostringstream out;
  EXPECT_TRUE(migrate_status(database.options(), out)) << out.str();
}

TEST_F(Migrate, ChangedAppliedFileIsAnError) {
  up();
  database.run("owner", "UPDATE outbox.schema_migrations SET checksum = 'other' WHERE version = 2");
  for (const auto& error : {failure_of([&] { up(); }), failure_of([&] { down(true); })}) {
    EXPECT_EQ(error.kind, ErrorKind::kSchemaVersion);
    EXPECT_FALSE(error.remedy.empty());
  }
  std::ostringstream out;
  EXPECT_FALSE(migrate_status(database.options(), out));
  EXPECT_NE(out.str().find("CHANGED   2 emit"), std::string::npos) << out.str();
}

TEST_F(Migrate, DownRefusesWhileTheSlotExists) {
  up();
  const Error error = failure_of([&] { down(false); });
  EXPECT_EQ(error.kind, ErrorKind::kConfiguration);
  EXPECT_NE(error.remedy.find("--drop-slot"), std::string::npos);
  EXPECT_EQ(slots(), "1");
  EXPECT_FALSE(database.run("app", "SELECT outbox.emit('s', '{}')").empty());
}

TEST_F(Migrate, DownRefusesWhileTheSlotOfAnotherConfigurationExists) {
  up();
  MigrateOptions other = database.options();
  other.source = "other";
  other.slot = "postrider_other";
  std::ostringstream out;
  const Error error = failure_of([&] { migrate_down(other, false, out); });
  EXPECT_EQ(error.kind, ErrorKind::kConfiguration);
  EXPECT_NE(error.context.find(database.options().slot), std::string::npos) << error.context;
  EXPECT_EQ(schemas(), "1");
}

TEST_F(Migrate, DownWithDropSlotLeavesNothingAndUpWorksAgain) {
  up();
  down(true);
  EXPECT_EQ(slots(), "0");
  EXPECT_EQ(schemas(), "0");
  EXPECT_EQ(database.run("owner", "SELECT count(*) FROM pg_publication"), "0");
  up();
  EXPECT_EQ(slots(), "1");
  EXPECT_FALSE(database.run("app", "SELECT outbox.emit('s', '{}')").empty());
}

TEST_F(Migrate, UpHealsASlotThatNoInitialisedRowVouchesFor) {
  up();
  // As after a crash between slot and row.
  database.run("owner", "UPDATE outbox.checkpoint SET initialised = false");
  up();
  EXPECT_EQ(slots(), "1");
  EXPECT_FALSE(database.run("app", "SELECT outbox.emit('s', '{}')").empty());
}

// Slots are cluster-wide: the name alone does not say whose a slot is.
class SlotOfAnother : public Migrate {
 protected:
  // `up` with this slot's name is refused, and the slot is still there, untouched.
  void expect_refused(const std::string& slot) {
    const std::string state =
        "SELECT concat_ws(' ', plugin, database, active, restart_lsn) FROM pg_replication_slots "
        "WHERE slot_name = '" +
        slot + "'";
    const std::string before = database.run("relay", state);
    ASSERT_NE(before, "");
    MigrateOptions options = database.options();
    options.slot = slot;
    std::ostringstream out;
    const Error error = failure_of([&] { migrate_up(options, out); });
    EXPECT_EQ(error.kind, ErrorKind::kConfiguration) << error.context;
    EXPECT_NE(error.context.find(slot), std::string::npos) << error.context;
    EXPECT_FALSE(error.remedy.empty());
    EXPECT_EQ(database.run("relay", state), before);
  }
};

TEST_F(SlotOfAnother, DatabaseIsNotDropped) {
  const ServiceDatabase other;
  expect_refused(other.options().slot);
}

TEST_F(SlotOfAnother, DatabaseIsNotDroppedByDown) {
  const ServiceDatabase other;
  up();
  database.run("owner", "UPDATE outbox.checkpoint SET slot = '" + other.options().slot + "'");
  down(true);
  EXPECT_EQ(database.run("relay", "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '" +
                                      other.options().slot + "'"),
            "1");
}

TEST_F(SlotOfAnother, PluginIsNotDropped) {
  database.run("relay", "SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')");
  expect_refused("decoded");
}

TEST_F(SlotOfAnother, KindIsNotDropped) {
  database.run("relay", "SELECT pg_create_physical_replication_slot('standby', true)");
  expect_refused("standby");
  database.run("relay", "SELECT pg_drop_replication_slot('standby')");
}

TEST_F(SlotOfAnother, ToolOnThisDatabaseIsNotDropped) {
  database.run("relay", "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')");
  expect_refused("cdc");
  expect_refused("cdc");  // what a first attempt leaves does not claim it
  up();                   // with a name of its own
  database.run("owner", "UPDATE outbox.checkpoint SET initialised = false");
  expect_refused("cdc");
  database.run("relay", "SELECT pg_drop_replication_slot('cdc')");
}

TEST_F(SlotOfAnother, SourceOfThisDatabaseIsNotDropped) {
  up();
  MigrateOptions second = database.options();
  second.source += "_second";
  std::ostringstream out;
  const Error error = failure_of([&] { migrate_up(second, out); });
  EXPECT_EQ(error.kind, ErrorKind::kConfiguration) << error.context;
  EXPECT_EQ(slots(), "1");
  EXPECT_FALSE(database.run("app", "SELECT outbox.emit('s', '{}')").empty());
}

TEST_F(Migrate, UpRefusesToMakeALostSlotAnew) {
  up();
  database.run("relay", "SELECT pg_drop_replication_slot('" + database.options().slot + "')");
  EXPECT_EQ(failure_of([&] { up(); }).kind, ErrorKind::kSlotMissing);
  EXPECT_EQ(slots(), "0");
}

TEST_F(Migrate, FilesRunUnderPsqlAndAreAdoptedByBaseline) {
  EXPECT_EQ(failure_of([&] {
              std::ostringstream out;
              migrate_baseline(database.options(), out);
            }).kind,
            ErrorKind::kSchemaVersion);
  char file[] = "/tmp/postrider-migrate.XXXXXX";
  const int descriptor = ::mkstemp(file);
  ASSERT_GE(descriptor, 0);
  ::close(descriptor);
  std::ofstream sql(file);
  migrate_print(sql);
  sql.close();
  const int status = dev::run({{(dev::postgres_programs() / "psql").string(), "-X1q", "-v",
                                "ON_ERROR_STOP=1", "-f", file, database.conninfo("owner")},
                               {},
                               {},
                               {},
                               false});
  std::filesystem::remove(file);
  ASSERT_EQ(status, 0);
  const auto early = database.refusal("app", "SELECT outbox.emit('s', '{}')");
  ASSERT_TRUE(early);
  EXPECT_EQ(early->sqlstate, "55000") << *early;
  EXPECT_EQ(failure_of([&] { up(); }).kind, ErrorKind::kSchemaVersion);
  std::ostringstream out;
  migrate_baseline(database.options(), out);
  EXPECT_TRUE(migrate_status(database.options(), out)) << out.str();
  EXPECT_FALSE(database.run("app", "SELECT outbox.emit('s', '{}')").empty());
}

TEST_F(Migrate, BaselineRefusesFilesOfWhichTheLastWasNotApplied) {
  up();
  std::ostringstream out;
  migrate_target_up(database.conninfo("owner"), out);
  database.run("owner", std::string(service_migrations().back().down));
  database.run("owner", std::string(readmodel_migrations().back().down));
  database.run("owner", "TRUNCATE outbox.schema_migrations; TRUNCATE postrider.schema_migrations");
  const auto is_refused = [](const Error& error) {
    EXPECT_EQ(error.kind, ErrorKind::kSchemaVersion) << error.context;
    EXPECT_NE(error.context.find("only a part"), std::string::npos) << error.context;
  };
  is_refused(failure_of([&] { migrate_baseline(database.options(), out); }));
  is_refused(failure_of([&] { migrate_target_baseline(database.conninfo("owner"), out); }));
  database.run("owner", std::string(service_migrations().back().up));
  database.run("owner", std::string(readmodel_migrations().back().up));
  migrate_baseline(database.options(), out);
  migrate_target_baseline(database.conninfo("owner"), out);
}

TEST_F(Migrate, DownClosesTheOutboxFirstAndLetsOthersPassWhileItWaits) {
  up();
  pqxx::connection other(database.conninfo("app"));
  pqxx::work writer(other);
  writer.exec("SELECT outbox.emit('s', '{}')");
  auto reverted = std::async(std::launch::async, [&] { return down(true); });
  EXPECT_TRUE(dev::wait_until(
      [&] {
        const auto refusal = database.refusal("app", "SELECT outbox.emit('s', '{}')");
        return refusal && refusal->sqlstate == "55000";
      },
      std::chrono::seconds{20}))
      << "no slot, and emit accepts";
  // It waits for the writer's lock; whoever needs the table meanwhile does not wait for both.
  EXPECT_TRUE(dev::wait_until(
      [&] {
        return database.run("owner",
                            "SELECT count(*) FROM pg_locks WHERE relation = "
                            "'outbox.checkpoint'::regclass AND NOT granted") == "1";
      },
      std::chrono::seconds{20}));
  EXPECT_EQ(
      database.run("relay", "SET lock_timeout = '5s'; SELECT count(*) FROM outbox.checkpoint"),
      "1");
  EXPECT_EQ(reverted.wait_for(std::chrono::seconds{0}), std::future_status::timeout);
  writer.abort();
  reverted.get();
  EXPECT_EQ(schemas(), "0");
}

TEST_F(Migrate, UpRefusesARowThatCameWithADump) {
  up();
  database.run("owner", "UPDATE outbox.checkpoint SET system_id = '1'");
  const Error error = failure_of([&] { up(); });
  EXPECT_EQ(error.kind, ErrorKind::kWrongSystem) << error.context;
  EXPECT_FALSE(error.remedy.empty());
  MigrateOptions anew = database.options();
  anew.source = "anew";
  anew.slot += "_anew";
  std::ostringstream out;
  EXPECT_EQ(failure_of([&] { migrate_up(anew, out); }).kind, ErrorKind::kWrongSystem)
      << "emit would go on for the old row, and nobody would carry it";
  database.run("owner", "DELETE FROM outbox.checkpoint");
  migrate_up(anew, out);
  EXPECT_FALSE(database.run("app", "SELECT outbox.emit('s', '{}')").empty());
}

TEST_F(Migrate, RelayRefusesASchemaNewerOrOlderThanItKnows) {
  up();
  Source source(database.conninfo("relay"), "test");
  const int known = latest_service_schema_version();
  EXPECT_NO_THROW(source.require_schema(known));
  for (const int other : {known - 1, known + 1}) {
    const Error error = failure_of([&] { source.require_schema(other); });
    EXPECT_EQ(error.kind, ErrorKind::kSchemaVersion);
    const bool older = error.remedy.starts_with("run `postrider migrate up`");
    const bool newer = error.remedy.starts_with("run the newer postrider binary");
    EXPECT_TRUE(other > known ? older : newer) << error.remedy;
  }
  database.run("owner", "INSERT INTO outbox.schema_migrations VALUES (999, 'future', 'x')");
  EXPECT_EQ(failure_of([&] { source.require_schema(known); }).kind, ErrorKind::kSchemaVersion);
  EXPECT_EQ(failure_of([&] { up(); }).kind, ErrorKind::kSchemaVersion);
  EXPECT_EQ(failure_of([&] { down(true); }).kind, ErrorKind::kSchemaVersion);
  EXPECT_EQ(slots(), "1");
}

TEST_F(Migrate, MissingRightsAreNamedAsSuchWithTheRemedy) {
  MigrateOptions other = database.options();
  other.owner_conninfo = database.conninfo("app");
  std::ostringstream out;
  const Error migrating = failure_of([&] { migrate_up(other, out); });
  EXPECT_EQ(migrating.kind, ErrorKind::kNoPermission) << migrating.context;
  EXPECT_FALSE(migrating.remedy.empty());
  up();
  Source stranger(database.conninfo("app"), "test");
  const Error reading = failure_of([&] { stranger.require_schema(1); });
  EXPECT_EQ(reading.kind, ErrorKind::kNoPermission) << reading.context;
  EXPECT_FALSE(reading.remedy.empty());
}

TEST_F(Migrate, RelayRefusesADatabaseWithoutSchema) {
  Source source(database.conninfo("relay"), "test");
  EXPECT_EQ(failure_of([&] { source.require_schema(1); }).kind, ErrorKind::kNotInitialised);
}

}  // namespace
}  // namespace postrider::testing
