// What `postrider migrate` makes of [[capture]], and what the database says of it.
#include <gtest/gtest.h>

#include <future>
#include <sstream>
#include <string>

#include "base/error.h"
#include "daemon/migrate/migrate.h"
#include "migrations/migrations.h"
#include "service_database.h"

namespace postrider::testing {
namespace {

class MigrateCapture : public ::testing::Test {
 protected:
  MigrateCapture() {
    database.run("owner",
                 "CREATE TABLE item (id int PRIMARY KEY, region varchar(8)); "
                 "CREATE TABLE loud (id int PRIMARY KEY, region text); "
                 "ALTER TABLE loud REPLICA IDENTITY FULL");
    options = database.options();
    options.captures = {{.tables = {"public.item"}}, {.tables = {"public.l*"}}};
  }
  std::string up() {
    std::ostringstream out;
    migrate_up(options, out);
    return out.str();
  }
  Error refusal() {
    try {
      ADD_FAILURE() << "it succeeded: " << up();
    } catch (const Failure& failure) {
      return failure.error();
    }
    return {};
  }
  std::string status(bool expected) {
    std::ostringstream out;
    EXPECT_EQ(migrate_status(options, out), expected) << out.str();
    return out.str();
  }
  std::string run(const std::string& statement) { return database.run("owner", statement); }
  // As the relay asks.
  std::string problem() {
    return database.run("relay", "SELECT outbox.capture_problem('" + options.source + "')");
  }
  // Everything that a migration writes of the publication.
  std::string state() {
    return run(
        "SELECT concat_ws(' ', (SELECT string_agg(p.oid || '/' || p.xmin, ',' ORDER BY p.oid) FROM "
        "pg_publication p), (SELECT string_agg(r.oid || '/' || r.xmin || '/' || "
        "coalesce(pg_get_expr(r.prqual, r.prrelid), ''), ',' ORDER BY r.oid) FROM "
        "pg_publication_rel r), (SELECT string_agg(c.xmin || ' ' || c::text, ',') FROM "
        "outbox.checkpoint c))");
  }
  void alter(const std::string& change) { run("ALTER PUBLICATION postrider_capture " + change); }
  // To the schema that a binary before migration `version` left.
  void revert_to_before(int version) {
    const auto files = service_migrations();
    for (auto file = files.rbegin(); file != files.rend() && file->version >= version; ++file) {
      run(std::string(file->down));
      run("DELETE FROM outbox.schema_migrations WHERE version = " + std::to_string(file->version));
    }
  }

  ServiceDatabase database{ServiceDatabase::Migrated::kNo};
  MigrateOptions options;
};

TEST_F(MigrateCapture, TwoUpsAtOnceBothSucceed) {
  auto first = std::async(std::launch::async, [&] { return up(); });
  auto second = std::async(std::launch::async, [&] { return up(); });
  const std::string both = first.get() + second.get();
  for (const char* line : {"created   publication postrider_capture", "captured  table public.item",
                           "captured  table public.loud"})
    EXPECT_TRUE(both.find(line) != std::string::npos && both.find(line) == both.rfind(line))
        << both;
  EXPECT_EQ(problem(), "");
}

TEST_F(MigrateCapture, ASecondUpChangesNothing) {
  options.captures[0].where = "id>10 and ID <> 12";
  options.captures[1].where = "region = 'eu'";
  up();
  const auto before = state();
  const auto said = up();
  EXPECT_EQ(state(), before);
  EXPECT_EQ(said.find("table"), std::string::npos) << said;
  EXPECT_EQ(said.find("note"), std::string::npos) << said;
  options.captures[1].where = "region = 'us'";
  up();
  EXPECT_NE(state(), before);
  EXPECT_NE(state().find("(region = 'us'::text)"), std::string::npos) << state();
  options.captures[1].where = "";
  up();
  EXPECT_EQ(state().find("us"), std::string::npos) << "a filter is taken away again";
  EXPECT_EQ(problem(), "");
}

TEST_F(MigrateCapture, UpPutsBackWhatThePublicationPublishes) {
  up();
  const auto made = state();
  alter("SET (publish = 'insert', publish_via_partition_root = false)");
  EXPECT_NE(problem().find("does not publish every change"), std::string::npos) << problem();
  EXPECT_NE(status(false).find("ALTERED   publication postrider_capture"), std::string::npos);
  const auto said = up();
  EXPECT_NE(said.find("restored  publication postrider_capture"), std::string::npos) << said;
  EXPECT_NE(said.find("changes made meanwhile are not in the stream"), std::string::npos) << said;
  EXPECT_EQ(run("SELECT concat_ws(' ', pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot) "
                "FROM pg_publication WHERE pubname = 'postrider_capture'"),
            "t t t t t");
  EXPECT_EQ(problem(), "");
  const auto after = state();
  EXPECT_EQ(up().find("restored"), std::string::npos);
  EXPECT_EQ(state(), after);
}

TEST_F(MigrateCapture, APublicationThatWasAlteredAndPutBackIsAltered) {
  up();
  EXPECT_EQ(problem(), "");
  run("BEGIN; ALTER PUBLICATION postrider_capture SET (publish = 'insert'); ALTER PUBLICATION "
      "postrider_capture SET (publish = 'insert, update, delete, truncate'); COMMIT");
  EXPECT_EQ(problem(), "was altered since `postrider migrate up` made it");
  run("SELECT outbox.accept_capture('" + options.source + "')");
  EXPECT_EQ(problem(), "") << "the owner's word";
  alter("DROP TABLE item");
  EXPECT_EQ(problem(), "does not hold public.item as it did");
  run("SELECT outbox.accept_capture('" + options.source + "')");
  EXPECT_EQ(problem(), "");
  run("DROP PUBLICATION postrider_capture");
  EXPECT_EQ(problem(), "does not exist");
  EXPECT_NE(status(false).find("MISSING   publication postrider_capture"), std::string::npos);
  const auto said = up();
  EXPECT_NE(said.find("changes made meanwhile"), std::string::npos) << said;
  EXPECT_EQ(problem(), "");
}

TEST_F(MigrateCapture, ATableThatSomebodyPublishedIsVouchedForOnceItIsConfigured) {
  options.captures.pop_back();
  up();
  alter("ADD TABLE loud");
  options.captures.push_back({.tables = {"public.loud"}});
  up();
  alter("DROP TABLE loud");
  EXPECT_EQ(problem(), "does not hold public.loud as it did");
}

TEST_F(MigrateCapture, AnUpgradeKeepsAHealthySourceHealthyAndASickOneSick) {
  up();
  revert_to_before(8);
  EXPECT_EQ(problem(), "") << "as the older binary sees it";
  auto said = up();
  EXPECT_NE(said.find("applied   8 capture_version"), std::string::npos) << said;
  EXPECT_EQ(said.find("note"), std::string::npos) << said;
  EXPECT_EQ(problem(), "");

  revert_to_before(8);
  for (const auto& file : service_migrations())
    if (file.version == 8) run(std::string(file.up));
  EXPECT_EQ(problem(), "") << "decided by the migration, not by what follows it";
  run(std::string(service_migrations()[7].down));

  alter("DROP TABLE item");
  for (const auto& file : service_migrations())
    if (file.version == 8) run(std::string(file.up));
  EXPECT_EQ(problem(), "was never vouched for by `postrider migrate up`");
  run(std::string(service_migrations()[7].down));
  said = up();
  EXPECT_NE(said.find("changes made meanwhile"), std::string::npos) << said;
  EXPECT_EQ(problem(), "");
}

TEST_F(MigrateCapture, AnInitialisedSourceWithoutThePublicationGetsIt) {
  options.captures.clear();
  up();
  run("DROP PUBLICATION postrider_capture");
  revert_to_before(7);
  EXPECT_NE(status(false).find("MISSING   publication postrider_capture"), std::string::npos);
  const auto said = up();
  EXPECT_NE(said.find("created   publication postrider_capture"), std::string::npos) << said;
  EXPECT_NE(status(true).find("present   publication postrider_capture: 0 captured tables"),
            std::string::npos);
  EXPECT_EQ(problem(), "");
}

TEST_F(MigrateCapture, DownLeavesTheTablesAndNoPublication) {
  up();
  EXPECT_NE(status(true).find("present   publication postrider_capture: 2 captured tables"),
            std::string::npos);
  std::ostringstream out;
  migrate_down(options, true, out);
  EXPECT_NE(out.str().find("postrider_capture"), std::string::npos) << out.str();
  EXPECT_EQ(run("SELECT count(*) FROM pg_publication"), "0");
  EXPECT_EQ(run("INSERT INTO item VALUES (1); DELETE FROM item RETURNING id"), "1");
  up();
  EXPECT_EQ(problem(), "");
}

TEST_F(MigrateCapture, ATableOfAnotherRoleIsRefusedWithItsOwner) {
  database.run("app", "CREATE TABLE theirs (id int PRIMARY KEY)");
  options.captures = {{.tables = {"public.theirs", "public.item"}}};
  const auto error = refusal();
  EXPECT_EQ(error.kind, ErrorKind::kNoPermission) << error.context;
  EXPECT_NE(error.remedy.find("public.theirs of app"), std::string::npos) << error.remedy;
  EXPECT_EQ(error.remedy.find("item"), std::string::npos) << error.remedy;
  EXPECT_EQ(run("SELECT count(*) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = "
                "r.prpubid WHERE pubname = 'postrider_capture'"),
            "0");
}

TEST_F(MigrateCapture, AFilterThatWouldBreakTheServiceIsRefused) {
  options.captures = {{.tables = {"public.item"}, .where = "region = 'eu'"}};
  auto error = refusal();
  EXPECT_EQ(error.kind, ErrorKind::kConfiguration) << error.context;
  EXPECT_NE(error.context.find("column region of public.item"), std::string::npos) << error.context;
  EXPECT_NE(error.remedy.find("REPLICA IDENTITY FULL"), std::string::npos) << error.remedy;
  run("INSERT INTO item VALUES (1, 'us'); UPDATE item SET region = 'eu'");
  for (const char* where : {"regoin = 'eu'", "id >", "id > random()", "id / 'x' > 1"}) {
    options.captures[0].where = where;
    error = refusal();
    EXPECT_EQ(error.kind, ErrorKind::kConfiguration) << where << ": " << error.context;
    EXPECT_NE(error.remedy.find("capture.where"), std::string::npos) << error.remedy;
  }
  run("ALTER TABLE item REPLICA IDENTITY FULL");
  options.captures[0].where = "region = 'eu'";
  up();
  run("UPDATE item SET region = 'us'");
}

TEST_F(MigrateCapture, AFilterThatWouldLoseLargeValuesIsRefused) {
  run("CREATE TABLE page (id int PRIMARY KEY, size numeric(5), body text); "
      "CREATE TABLE named (name text PRIMARY KEY, size int); "
      "CREATE TABLE part (id int PRIMARY KEY, body text) PARTITION BY RANGE (id); "
      "ALTER TABLE part REPLICA IDENTITY FULL; "
      "CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (10)");
  options.captures = {{.tables = {"public.page"}, .columns = {"id", "body"}, .where = "id > 10"}};
  auto error = refusal();
  EXPECT_EQ(error.kind, ErrorKind::kConfiguration) << error.context;
  EXPECT_NE(error.context.find("public.page may hold large values in column body"),
            std::string::npos)
      << error.context;
  EXPECT_NE(error.remedy.find("ALTER TABLE public.page REPLICA IDENTITY FULL"), std::string::npos)
      << error.remedy;
  options.captures = {{.tables = {"public.part"}, .where = "id > 1"}};
  error = refusal();
  EXPECT_NE(error.context.find("partition public.part_low may hold large values in column body"),
            std::string::npos)
      << error.context;

  run("ALTER TABLE part_low REPLICA IDENTITY FULL");
  options.captures = {
      {.tables = {"public.part"}, .where = "id > 1"},
      {.tables = {"public.page"}, .columns = {"id"}, .where = "id > 10"},  // it is not carried
      {.tables = {"public.named"}, .where = "name > 'b'"}};  // the old row holds the key
  up();
  options.captures[1].columns = {};
  refusal();
  options.captures[1].where = "";
  up();
  options.captures[1].where = "id > 10";
  run("ALTER TABLE page REPLICA IDENTITY FULL");
  up();
}

TEST_F(MigrateCapture, ColumnsThatAnIndexOnlyIncludesAreNotOfTheIdentity) {
  run("CREATE TABLE wide (a int, b int, c int, PRIMARY KEY (a, b) INCLUDE (c)); "
      "CREATE TABLE chosen (a int NOT NULL, c int); "
      "CREATE UNIQUE INDEX identity ON chosen (a) INCLUDE (c); "
      "ALTER TABLE chosen REPLICA IDENTITY USING INDEX identity");
  for (const char* table : {"wide", "chosen"}) {
    options.captures = {{.tables = {std::string("public.") + table}, .where = "c > 1"}};
    const auto error = refusal();
    EXPECT_EQ(error.kind, ErrorKind::kConfiguration) << error.context;
    EXPECT_NE(error.context.find(std::string("column c of public.") + table), std::string::npos)
        << error.context;
  }
  options.captures = {{.tables = {"public.wide"}, .where = "a > 1 OR b > 1"},
                      {.tables = {"public.chosen"}, .where = "a > 1"}};
  up();
  run("INSERT INTO wide VALUES (1, 2, 3); UPDATE wide SET c = 4; "
      "INSERT INTO chosen VALUES (1, 2); UPDATE chosen SET c = 4");
}

TEST_F(MigrateCapture, ColumnsThatNoTableHasAreRefused) {
  run("CREATE TABLE list (id int PRIMARY KEY, mail text)");
  options.captures = {{.tables = {"public.l*"}, .hash = {"mail"}, .rename = {{"region", "r"}}}};
  up();  // each has one of them
  for (const CaptureRule& rule : std::vector<CaptureRule>{
           {.tables = {"public.item"}, .hash = {"regoin"}},
           {.tables = {"public.item"}, .subject_column = "regoin", .subject_values = {{"a", "b"}}},
           {.tables = {"public.item"},
           .subject_column = "region",
           .subject_values = {{"a", "b.{column:regoin}"}}},
           {.tables = {"public.item"}, .exclude = {"regoin"}},
           {.tables = {"public.item"}, .subject = "a.{column:id}.{column:regoin}"},
           {.tables = {"public.item"}, .rename = {{"regoin", "x"}}}}) {
    options.captures = {rule};
    const auto error = refusal();
    EXPECT_EQ(error.kind, ErrorKind::kConfiguration) << error.context;
    EXPECT_NE(error.context.find("column regoin"), std::string::npos) << error.context;
  }
  options.captures = {{.tables = {"public.item"}, .rename = {{"id", "region"}}}};
  EXPECT_NE(refusal().context.find("has a column region"), std::string::npos);
  options.captures = {
      {.tables = {"public.item"}, .exclude = {"region"}, .rename = {{"id", "region"}}}};
  up();
}

TEST_F(MigrateCapture, APartitionWithoutIdentityIsFound) {
  run("CREATE TABLE part (id int) PARTITION BY RANGE (id); ALTER TABLE part REPLICA IDENTITY FULL; "
      "CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (10)");
  options.captures = {{.tables = {"public.part"}}};
  const auto error = refusal();
  EXPECT_EQ(error.kind, ErrorKind::kConfiguration) << error.context;
  EXPECT_NE(error.context.find("partition public.part_low has no replica identity"),
            std::string::npos)
      << error.context;
  run("ALTER TABLE part_low REPLICA IDENTITY FULL");
  up();
  run("INSERT INTO part VALUES (1); UPDATE part SET id = 2");
}

}  // namespace
}  // namespace postrider::testing
