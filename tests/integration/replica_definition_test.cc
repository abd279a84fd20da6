// Replica tables whose definitions differ from the source's: by intent, since a while, or for ever.
#include <fstream>
#include <string>

#include "tests/support/replica_world.h"

namespace postrider::test {
namespace {

constexpr int kHalted = 42;

class ReplicaDefinition : public ReplicaWorld {
 protected:
  void capture(const std::string& tables, const std::string& replica_keys = {}) {
    replicate("[[capture]]\ntables = [" + tables + "]\n", "[[replica]]\n" + replica_keys + "\n");
  }
  void expect_halt(const std::string& words) {
    EXPECT_EQ(carry(), kHalted) << applied_log();
    EXPECT_NE(applied_log().find(words), std::string::npos) << words << " in " << applied_log();
  }
};

TEST_F(ReplicaDefinition, ANewColumnHaltsUntilTheTargetHasIt) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY)");
  applier_sql("CREATE TABLE t (id int PRIMARY KEY)");
  capture("\"public.*\"");
  app_sql("INSERT INTO t VALUES (1)");
  app_sql("ALTER TABLE t ADD COLUMN \"new one\" int DEFAULT 7; INSERT INTO t VALUES (2, 8)");
  expect_halt("ALTER TABLE \"public\".\"t\" ADD COLUMN \"new one\"");
  applier_sql("ALTER TABLE t ADD COLUMN \"new one\" int DEFAULT 7");
  EXPECT_EQ(carry(), 0) << applied_log();
  expect_same("t");
}

TEST_F(ReplicaDefinition, ANewColumnIsAddedWithWhatOlderRowsHold) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY, gone int NOT NULL DEFAULT 1)");
  capture("\"public.*\"", "create = true\non_new_column = \"add\"");
  app_sql("INSERT INTO t VALUES (1)");
  ASSERT_EQ(carry(), 0) << applied_log();
  app_sql(
      "ALTER TABLE t ADD COLUMN a text[] DEFAULT ARRAY['x,\"y']; ALTER TABLE t ADD COLUMN b "
      "numeric(8,2); INSERT INTO t VALUES (2, 1, NULL, 1.5)");
  app_sql(
      "ALTER TABLE t ADD COLUMN c timestamptz DEFAULT '2026-01-01'; INSERT INTO t (id) VALUES (3)");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("t");
  EXPECT_EQ(target_sql("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
                       "'t'::regclass AND attname = 'b'"),
            "numeric(8,2)");
  // A default that differs by row was written without events: nobody can know it here.
  app_sql(
      "ALTER TABLE t ADD COLUMN d double precision DEFAULT random(); INSERT INTO t (id) VALUES "
      "(4)");
  expect_halt("older rows");
  applier_sql("ALTER TABLE t ADD COLUMN d double precision");
  EXPECT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(verify(), 1) << "and verify sees it: " << output();
  app_sql("UPDATE t SET d = 1");
  app_sql("ALTER TABLE t DROP COLUMN gone");
  app_sql("INSERT INTO t (id) VALUES (5)");
  expect_halt("DROP NOT NULL");
  applier_sql("ALTER TABLE t ALTER gone DROP NOT NULL");
  EXPECT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(verify(), 0) << output();
  // Renamed before anybody asked for its type.
  app_sql("ALTER TABLE t ADD COLUMN e int; INSERT INTO t (id, e) VALUES (6, 1)");
  app_sql("ALTER TABLE t RENAME COLUMN e TO f");
  expect_halt("it was renamed or dropped since");
}

TEST_F(ReplicaDefinition, ARenamedColumnIsRenamedAtTheHalt) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY, name text)");
  applier_sql("CREATE TABLE t (id int PRIMARY KEY, name text)");
  capture("\"public.*\"");
  // All in the stream before anybody applies: rows under the old name and under the new one.
  app_sql("INSERT INTO t VALUES (1, 'before')");
  app_sql("UPDATE t SET name = 'still before'");
  app_sql("ALTER TABLE t RENAME COLUMN name TO title; INSERT INTO t VALUES (2, 'after')");
  expect_halt("ADD COLUMN \"title\"");
  EXPECT_EQ(target_sql("SELECT string_agg(t::text, ' ') FROM t"), "(1,\"still before\")");
  applier_sql("ALTER TABLE t RENAME COLUMN name TO title");
  EXPECT_EQ(carry(), 0) << applied_log();
  expect_same("t");
}

TEST_F(ReplicaDefinition, ColumnsThatAreIgnoredStayOut) {
  app_sql(
      "CREATE TABLE t (id int PRIMARY KEY, a int, secret text, whole int GENERATED ALWAYS AS (a * "
      "2) STORED)");
  applier_sql(
      "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, own int DEFAULT 5, "
      "whole int GENERATED ALWAYS AS (a * 3) STORED)");
  capture("\"public.*\"", "on_new_column = \"ignore\"");
  const auto rows_here = "SELECT string_agg(t::text, ' ' ORDER BY id) FROM t";
  app_sql("INSERT INTO t VALUES (1, 1, 's'), (2, 2, 's'); UPDATE t SET a = 3 WHERE id = 2");
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(target_sql(rows_here), "(1,1,5,3) (2,3,5,9)");
  applier_sql("UPDATE t SET own = 6");
  app_sql(
      "UPDATE t SET a = 4 WHERE id = 1; BEGIN; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES "
      "(2, 9); COMMIT");
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(target_sql(rows_here), "(1,4,6,12) (2,9,5,27)")
      << "a row made anew begins with the target's default";
  EXPECT_EQ(verify(), 0) << output();
}

TEST_F(ReplicaDefinition, WhatCannotBeWrittenHaltsAndSaysWhy) {
  sql("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); CREATE SCHEMA two; CREATE TABLE two.t "
      "(id int PRIMARY KEY); ALTER TABLE t OWNER TO app");
  capture("\"*.t\"");
  app_sql("INSERT INTO t VALUES (1, 1)");
  expect_halt("postrider replica create");
  applier_sql("CREATE VIEW t AS SELECT 1 AS id");
  expect_halt("is a view");
  applier_sql("DROP VIEW t; CREATE TABLE t (id int, v int)");
  app_sql("UPDATE t SET v = 2");
  expect_halt("ADD PRIMARY KEY");
  applier_sql("ALTER TABLE t ADD PRIMARY KEY (id) DEFERRABLE");
  expect_halt("NOT DEFERRABLE");
  applier_sql(
      "ALTER TABLE t DROP CONSTRAINT t_pkey; TRUNCATE t; ALTER TABLE t ADD PRIMARY KEY (v)");
  app_sql("DELETE FROM t");
  expect_halt("key of the source's replica identity");
  applier_sql("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (id)");
  sql("INSERT INTO two.t VALUES (1)");
  expect_halt("would both go into");
  capture("\"*.t\"", "tables = [\"public.*\"]");
  ASSERT_EQ(carry(), 0) << applied_log();
  app_sql("SELECT outbox.emit('cdc.public.t', '{\"op\":\"insert\"}', type => 'insert')");
  ASSERT_EQ(carry(), 0) << "an event is no row change: " << applied_log();
  expect_same("t");
}

TEST_F(ReplicaDefinition, ARowThatComesIntoAFilterWithoutItsLargeValueHaltsUntilItIsReplaced) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY)");
  applier_sql("CREATE TABLE t (id int PRIMARY KEY, big text); CREATE TABLE other (id int)");
  const std::string filtered = "[[capture]]\ntables = [\"public.t\"]\nwhere = \"id > 10\"\n";
  replicate(filtered, "[[replica]]\n");
  {
    // Such a filter is refused when a relay starts; this one runs when the column is added.
    const auto relay = start("relay");
    ASSERT_TRUE(dev::wait_until([&] { return nats_client().has_stream(kStream); },
                                dev::milliseconds{60'000}))
        << relay->log();
    app_sql("ALTER TABLE t ADD COLUMN big text; ALTER TABLE t ALTER big SET STORAGE EXTERNAL");
    app_sql("INSERT INTO t VALUES (5, repeat('b', 9000)), (11, 'small')");
    app_sql("UPDATE t SET id = 20 WHERE id = 5");
    ASSERT_TRUE(wait_for_seq(2)) << relay->log();
    const auto applier = start("apply", {}, {"--until-caught-up"});
    EXPECT_EQ(applier->wait(dev::milliseconds{60'000}), kHalted) << applier->log();
    EXPECT_NE(applier->log().find("REPLICA IDENTITY FULL"), std::string::npos) << applier->log();
  }
  EXPECT_EQ(target_sql("SELECT string_agg(t::text, ' ') FROM t"), "(11,small)");
  // The remedy, as the halt says it.
  app_sql("ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET id = 21 WHERE id = 11");
  replicate(filtered, "[[replica]]\ntables = [\"public.other\"]\n");
  ASSERT_EQ(carry(), 0) << applied_log();
  replicate(filtered, "[[replica]]\n");
  sql("GRANT ALL ON t TO owner");  // who carries a backfill
  ASSERT_EQ(postrider({"backfill", "start", "public.t", "--replace", "--config",
                       replica_config("backfill")}),
            0)
      << output();
  {
    const auto relay = start("relay");
    ASSERT_TRUE(
        dev::wait_until([&] { return sql("SELECT state FROM outbox.backfill") == "complete"; },
                        dev::milliseconds{60'000}))
        << relay->log();
  }
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("t");
}

TEST_F(ReplicaDefinition, ARowInDebeziumsEnvelopeHalts) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY)");
  replicate("[[capture]]\ntables = [\"public.t\"]\nformat = \"debezium\"\n", "[[replica]]\n");
  app_sql("INSERT INTO t VALUES (1)");
  expect_halt("capture.format");
}

TEST_F(ReplicaDefinition, CapturedColumnsMasksAndFiltersAreKnownToCreateAndVerify) {
  app_sql(
      "CREATE TABLE person (id int PRIMARY KEY, email varchar(3), card int, region text); ALTER "
      "TABLE person REPLICA IDENTITY FULL; CREATE TABLE empty (id int PRIMARY KEY)");
  replicate(
      "[[capture]]\ntables = [\"public.*\"]\nexclude = [\"card\"]\nmask = [\"email\"]\nwhere = "
      "\"id < 9\"\n",
      "[[replica]]\ncreate = true\n");
  app_sql(
      "INSERT INTO person VALUES (1, 'a@b', 7, 'eu'), (2, NULL, 8, 'eu'), (3, 'c@d', 9, 'us'), "
      "(10, 'x', 1, 'eu')");
  app_sql("UPDATE person SET id = 4 WHERE id = 10; UPDATE person SET id = 11 WHERE id = 1");
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(target_sql("SELECT string_agg(p::text, ' ' ORDER BY id) FROM person p"),
            "(2,,eu) (3,***,us) (4,***,eu)");
  EXPECT_EQ(verify(), 0) << output();
  EXPECT_NE(output().find("public.empty"), std::string::npos) << "without target: " << output();
  applier_sql("DELETE FROM person WHERE id = 3");
  EXPECT_EQ(verify(), 1) << output();
}

// The source tells its rows by an index that is not its primary key.
class ReplicaIdentity : public ReplicaDefinition {
 protected:
  ReplicaIdentity() {
    app_sql(
        "CREATE TABLE usr (id int PRIMARY KEY, email text NOT NULL, org int NOT NULL, v text, "
        "UNIQUE (org, email)); ALTER TABLE usr REPLICA IDENTITY USING INDEX usr_org_email_key");
  }
  void insert() {
    app_sql("INSERT INTO usr SELECT i, 'a' || i, i, 'v' FROM generate_series(1, 4) i");
  }
  void change() {
    app_sql("UPDATE usr SET id = 100 WHERE email = 'a1'");
    app_sql("UPDATE usr SET email = 'b', id = 200 WHERE email = 'a2'");
    app_sql("DELETE FROM usr WHERE email = 'a3'");
  }
};

TEST_F(ReplicaIdentity, IsTheKeyOfTheTableThatIsMade) {
  capture("\"public.*\"", "create = true");
  insert();
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(target_sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = "
                       "'usr'::regclass AND contype = 'p'"),
            "PRIMARY KEY (org, email)");
  change();
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("usr");
  EXPECT_EQ(verify(), 0) << output();
}

TEST_F(ReplicaIdentity, OfAnotherKeyHaltsBeforeARowIsWrittenByIt) {
  applier_sql(
      "CREATE TABLE usr (id int PRIMARY KEY, email text NOT NULL, org int NOT NULL, v text)");
  capture("\"public.*\"");
  insert();
  change();
  expect_halt("the source tells its rows by another");
  EXPECT_EQ(target_sql("SELECT count(*) FROM usr"), "0");
  // A part of it is another.
  applier_sql("ALTER TABLE usr DROP CONSTRAINT usr_pkey, ADD PRIMARY KEY (email)");
  expect_halt("the source tells its rows by another");
  applier_sql("ALTER TABLE usr DROP CONSTRAINT usr_pkey, ADD PRIMARY KEY (email, org)");
  EXPECT_EQ(carry(), 0) << applied_log();
  expect_same("usr");
  // As the source has it: a primary key that is not the rows' key.
  applier_sql(
      "ALTER TABLE usr DROP CONSTRAINT usr_pkey, ADD PRIMARY KEY (id), ADD UNIQUE (org, email); "
      "ALTER TABLE usr REPLICA IDENTITY USING INDEX usr_org_email_key");
  app_sql("UPDATE usr SET id = 101 WHERE email = 'a1'; DELETE FROM usr WHERE email = 'b'");
  EXPECT_EQ(carry(), 0) << applied_log();
  expect_same("usr");
  EXPECT_EQ(verify(), 0) << output();
}

TEST_F(ReplicaIdentity, IsKnownWhateverTheTypesOfItsColumns) {
  app_sql(
      "CREATE TABLE k (f float8, v int, b bool, n numeric, t timestamptz, y bytea, j jsonb, u "
      "uuid, "
      "a text[], r real, i interval, c char(4), PRIMARY KEY (a, b, f, n, t, y, j, u, r, i, c))");
  capture("\"public.k\"", "create = true");
  app_sql(
      "INSERT INTO k SELECT f, 1, f > 0, 1.00, '2026-01-01 00:00:00.5+02', '\\x00ff', j, "
      "gen_random_uuid(), ARRAY['a b', 'c,%\"'], (f / 1e19)::real, '1 day 2 h', 'x' FROM "
      "unnest(ARRAY['NaN', "
      "'-0', '1e-10', '1e20', 'Infinity', '0.1']::float8[]) f, unnest(ARRAY['\"s\"', 'true', "
      "'null', '{\"a\": [1, \"b\"]}']::jsonb[]) j WHERE f <> 1e-10 OR j = 'true'");
  app_sql(
      "UPDATE k SET v = 2 WHERE b; DELETE FROM k WHERE f = 0.1; UPDATE k SET f = 7 WHERE f = 1e20");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("k");
}

TEST_F(ReplicaIdentity, MayHoldEmptyTextInEachPlace) {
  app_sql("CREATE TABLE k (a text, b text, c text, v int, PRIMARY KEY (a, b, c))");
  capture("\"public.k\"", "create = true");
  app_sql(
      "INSERT INTO k SELECT a, b, c, 1 FROM unnest(ARRAY['', 'x']) a, unnest(ARRAY['', 'x']) b, "
      "unnest(ARRAY['', 'x']) c");
  app_sql(
      "UPDATE k SET v = 2 WHERE b = ''; DELETE FROM k WHERE c = '' AND a = ''; "
      "UPDATE k SET a = '' WHERE a = 'x' AND c = ''");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("k");
  EXPECT_EQ(verify(), 0) << output();
}

// For a moment, since `migrate up` and a relay that starts refuse it: the partition logs its key
// alone, the root's description promises the whole row.
TEST_F(ReplicaIdentity, OfThePartitionedRootAloneOverwritesNoLargeValue) {
  app_sql(
      "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); "
      "CREATE TABLE m_low PARTITION OF m FOR VALUES FROM (0) TO (10); "
      "ALTER TABLE m_low ALTER v SET STORAGE EXTERNAL");
  capture("\"public.m\"", "create = true");
  app_sql("INSERT INTO m VALUES (1, repeat('large', 500))");
  ASSERT_EQ(carry(), 0) << applied_log();
  app_sql("ALTER TABLE m REPLICA IDENTITY FULL");
  app_sql("UPDATE m SET id = 2 WHERE id = 1");
  app_sql("ALTER TABLE m REPLICA IDENTITY DEFAULT");
  EXPECT_EQ(carry(), 0) << applied_log();
  expect_same("m");
}

TEST_F(ReplicaDefinition, CreateNamesTheTablesThatItMakes) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY)");
  target_sql("CREATE SCHEMA elsewhere AUTHORIZATION applier");
  replicate("[[capture]]\ntables = [\"public.t\"]\n", "[[replica]]\nschema = \"elsewhere\"\n");
  const auto create = [&] {
    EXPECT_EQ(postrider({"replica", "create", "copy", "--config", replica_config("create")}), 0);
    return output();
  };
  EXPECT_EQ(create(), "made    elsewhere.t\n");
  EXPECT_EQ(create(), "exists  elsewhere.t\n");
}

TEST_F(ReplicaDefinition, OfAParentOfInheritedTablesIsTheParentAlone) {
  const std::string tables =
      "CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (PRIMARY KEY (id)) "
      "INHERITS (parent)";
  app_sql(tables);
  applier_sql(tables);
  capture("\"public.*\"");
  app_sql(
      "INSERT INTO parent VALUES (1, 'p'), (2, 'p'), (3, 'p'); INSERT INTO child VALUES (1, 'c'), "
      "(2, 'c'), (3, 'c')");
  app_sql("DELETE FROM ONLY parent WHERE id = 1; UPDATE ONLY parent SET v = 'q' WHERE id = 2");
  app_sql("UPDATE ONLY parent SET id = 4 WHERE id = 3");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("ONLY parent");
  expect_same("child");
  EXPECT_EQ(verify(), 0) << output();
  app_sql("TRUNCATE ONLY parent");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("ONLY parent");
  expect_same("child");
  // Without the children at the target: a parent that is read with them would show a surplus.
  applier_sql("ALTER TABLE child NO INHERIT parent");
  EXPECT_EQ(verify(), 0) << output();
}

TEST_F(ReplicaDefinition, HashesMasksAndNewNamesAreKnownToCreateAddAndVerify) {
  app_sql(
      "CREATE TYPE pair AS (a int, b int); CREATE TABLE person (usr text PRIMARY KEY, email "
      "varchar(9), born date, phone int, vip bool NOT NULL, weight float8, home pair, card int, "
      "note "
      "text); CREATE TABLE other (level int PRIMARY KEY)");
  replicate(
      "[[capture]]\ntables = [\"public.*\"]\ncolumns = [\"usr\", \"email\", \"born\", \"phone\", "
      "\"vip\", \"weight\", \"home\", \"level\"]\nmask = [\"phone\", \"home\"]\nhash = [\"usr\", "
      "\"email\", \"vip\", \"weight\", \"level\"]\nhash_salt = \"it's \\\\ salt\"\nrename = { usr "
      "= "
      "\"user\", born = \"email\", email = \"mail\", level = \"rank\" }\n",
      "[[replica]]\non_new_column = \"add\"\n");
  ASSERT_EQ(postrider({"replica", "create", "copy", "--config", replica_config("create")}), 0)
      << output();
  EXPECT_EQ(target_sql("SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' "
                       "ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'person'::regclass AND "
                       "attnum > 0"),
            "user text, mail text, email date, phone text, vip text, weight text, home text");
  EXPECT_EQ(target_sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = "
                       "'person'::regclass AND contype = 'p'"),
            "PRIMARY KEY (\"user\")");
  app_sql(
      "INSERT INTO person SELECT 'u' || i, '\xc3\xa9@' || i, '2000-01-01', 123, i % 2 = 0, i / "
      "3.0, "
      "CASE WHEN i > 2 THEN ROW(NULL, NULL)::pair END, 9, 'n' FROM generate_series(1, 5) i");
  app_sql("UPDATE person SET email = NULL, phone = NULL WHERE usr = 'u1'");
  app_sql("UPDATE person SET usr = 'u6', born = '1999-12-31' WHERE usr = 'u2'");
  app_sql("DELETE FROM person WHERE usr = 'u3'");
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(
      target_sql("SELECT concat_ws(' ', mail, email, phone) FROM person WHERE \"user\" = "
                 "encode(sha256(convert_to('it''s \\ salt' || 'u6', 'UTF8')), 'hex')"),
      sql("SELECT encode(sha256(convert_to('it''s \\ salt' || '\xc3\xa9@2', 'UTF8')), 'hex') || "
          "' 1999-12-31 ***'"));
  EXPECT_EQ(verify(), 0) << output();
  EXPECT_NE(output().find("public.person: 4 rows in the source, 4 in"), std::string::npos)
      << output();
  applier_sql("UPDATE person SET vip = 'f' WHERE phone IS NULL");
  EXPECT_EQ(verify(), 1) << output();
  app_sql("UPDATE person SET vip = true WHERE usr = 'u1'");
  // A column that comes later, with what older rows hold.
  app_sql("ALTER TABLE person ADD COLUMN level bytea DEFAULT '\\x00ff'");
  app_sql("INSERT INTO person (usr, vip, level) VALUES ('u7', true, '\\x01'), ('u8', true, NULL)");
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(verify(), 0) << output();
  EXPECT_EQ(target_sql("SELECT count(DISTINCT rank) || ' ' || count(rank) FROM person"), "2 5");
}

TEST_F(ReplicaDefinition, IsBuiltAnewBesideTheLiveOne) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
  std::ofstream(folder_ / "setup.sql") << "CREATE TABLE t (id int PRIMARY KEY, v text);";
  const auto* captures = "[[capture]]\ntables = [\"public.t\"]\n";
  const auto* keys = "schema = \"copy\"\nsetup = \"setup.sql\"";
  replicate(captures, "[[replica]]\n", keys);
  app_sql(
      "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 500) i; DELETE FROM t WHERE id > "
      "400");
  ASSERT_EQ(carry(), 0) << applied_log();
  applier_sql("UPDATE copy.t SET v = 'wrong'");
  const auto rebuild = [&] {
    return postrider({"apply", "rebuild", "copy", "--config", replica_config("rebuild")});
  };
  EXPECT_EQ(rebuild(), 0) << output();
  EXPECT_EQ(target_sql(rows("copy.t")), sql(rows("t")));
  replicate(captures, "[[replica]]\nschema = \"public\"\n", keys);
  EXPECT_EQ(rebuild(), 78) << output();
}

}  // namespace
}  // namespace postrider::test
