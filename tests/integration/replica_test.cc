// Replica tables: from the service's SQL to the same rows in another database, compared by
// PostgreSQL itself.
#include <string>

#include "tests/support/replica_world.h"

namespace postrider::test {
namespace {

constexpr int kHalted = 42;
constexpr int kPoison = 41;

class Replica : public ReplicaWorld {
 protected:
  // A table on both sides, as the same statement makes it.
  void both(const std::string& statements) {
    app_sql(statements);
    applier_sql(statements);
  }
  void capture(const std::string& tables, const std::string& replica_keys = {}) {
    replicate("[[capture]]\ntables = [" + tables + "]\n", "[[replica]]\n" + replica_keys + "\n");
  }
  // From now on, by which statements the target's table gets rows.
  void watch_inserts(const std::string& table) {
    applier_sql(
        "CREATE TABLE IF NOT EXISTS inserts (number serial, into_table text, how text); "
        "CREATE OR REPLACE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO inserts (into_table, how) VALUES (TG_TABLE_NAME, left(current_query(), 4)); "
        "RETURN NULL; END $$; "
        "CREATE TRIGGER watch AFTER INSERT ON " +
        table + " FOR EACH STATEMENT EXECUTE FUNCTION watch()");
  }
  std::string inserts() {
    return target_sql("SELECT string_agg(how, ' ' ORDER BY number) FROM inserts");
  }
};

TEST_F(Replica, FollowsEveryKindOfChange) {
  both("CREATE TABLE item (id int PRIMARY KEY, name text, big text)");
  app_sql("ALTER TABLE item ALTER big SET STORAGE EXTERNAL");
  capture("\"public.item\"");
  app_sql("INSERT INTO item SELECT i, 'n' || i, repeat('b', 9000) FROM generate_series(1, 9) i");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  app_sql("UPDATE item SET name = 'changed' WHERE id <= 4");
  app_sql("UPDATE item SET id = id + 9 WHERE id = 2");  // the large value is not touched
  app_sql("DELETE FROM item WHERE id = 3");
  app_sql("BEGIN; DELETE FROM item WHERE id = 4; INSERT INTO item VALUES (4, 'again'); COMMIT");
  app_sql("UPDATE item SET big = NULL WHERE id = 5");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  EXPECT_EQ(target_sql("SELECT count(*) FROM item WHERE length(big) = 9000"), "6");
  EXPECT_EQ(verify(), 0) << output();
  EXPECT_NE(output().find("public.item"), std::string::npos) << output();
  app_sql("BEGIN; TRUNCATE item; INSERT INTO item VALUES (1, 'new'); COMMIT");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  applier_sql("UPDATE item SET name = 'touched'");
  EXPECT_EQ(verify(), 1) << output();
}

TEST_F(Replica, VerifyComparesTheTablesWhoseSubjectsARuleTakes) {
  both("CREATE TABLE item (id int PRIMARY KEY, region text)");
  app_sql("CREATE TABLE other (id int PRIMARY KEY)");
  replicate("[[capture]]\ntables = [\"public.*\"]\n",
            "[[replica]]\nsubjects = \"shop.cdc.public.item\"\n");
  app_sql("INSERT INTO item VALUES (1, 'eu'), (2, 'us'); INSERT INTO other VALUES (1)");
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(verify(), 0) << output();
  EXPECT_EQ(output().find("public.other"), std::string::npos) << output();
}

TEST_F(Replica, VerifyRefusesATableOfWhoseRowsARuleTakesAPart) {
  constexpr int kConfiguration = 78;
  both("CREATE TABLE item (id int PRIMARY KEY, region text)");
  replicate(
      "[[capture]]\ntables = [\"public.item\"]\nsubject_column = \"region\"\n"
      "subject_values = { eu = \"cdc.eu.item\" }\n",
      "[[replica]]\nsubjects = \"shop.cdc.eu.item\"\n");
  app_sql("INSERT INTO item VALUES (1, 'eu'), (2, 'us')");
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(target_sql("SELECT string_agg(region, '') FROM item"), "eu");
  EXPECT_EQ(verify(), kConfiguration) << output();
  EXPECT_NE(output().find("takes a part of its rows"), std::string::npos) << output();
}

constexpr const char* kTypes =
    R"(CREATE TYPE mood AS ENUM ('sad', 'o''k "x", y'); CREATE DOMAIN cents AS int CHECK (value >= 0);
       CREATE DOMAIN doc AS json; CREATE TYPE pair AS (a int, b text);)";

constexpr const char* kTypesTable = R"(
CREATE TABLE types (id int PRIMARY KEY, i2 int2, i8 int8, n numeric, n2 numeric(30,10), f4 float4, f8 float8,
  mny money, b bool, c char(5), vc varchar(40), t text, nm name, ch "char", byt bytea, ts timestamp, tz timestamptz(3),
  d date, ti time, tiz timetz, iv interval day to second, u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, ma macaddr,
  ma8 macaddr8, bi bit(3), vb varbit, po point, li line, ls lseg, bx box, pa path, pol polygon, cr circle,
  r4 int4range, r8 int8range, rn numrange, rd daterange, rts tsrange, rtz tstzrange, mr int4multirange,
  tsv tsvector, tsq tsquery, o oid, rc regclass, lsn pg_lsn, xi xid8, sn pg_snapshot, jp jsonpath, iv2 int2vector,
  ai int[], att text[], abx box[], abi bit(3)[], am mood[], mo mood, dm cents, dj doc, pr pair, apr pair[], big text))";

constexpr const char* kTypesRows = R"(
INSERT INTO types (id) VALUES (0);
INSERT INTO types VALUES (1, -32768, 9223372036854775807, 'NaN', 12345678901234567890.0123456789, '1.1', '0.1', '-1234.5', true,
  'ab', 'x', E'it''s "quoted" back \\ tab \t line \r\n bell \x07 del \x7f \u00e9 \U0001F600 \u2028 $1 :x', 'name', 'c', '\x00ff10', '2026-01-31 23:59:59.123456',
  '2026-06-30 12:00:00+05:30', '2026-02-28', '23:59:59.999999', '12:00:00.5-08', '3 days -04:05:06.789', '00112233-4455-6677-8899-aabbccddeeff',
  ' {"b": 1,  "a": [1e400, "\u0000\ud800", null], "a": 2} ', '{"k": 12345678901234567890.10, "n": null}', '<a b="c">d</a>', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03',
  '08:00:2b:01:02:03:04:05', B'101', B'1', '(1,2)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1))', '<(0,0),5>',
  '[1,5)', '(,9]', '[1.5,2.5]', '[2026-01-01,infinity)', '[2026-01-01 00:00, 2026-01-02 00:00)', '[2026-01-01 00:00+00,)', '{[1,3),[5,7)}',
  '''a'':1 ''b c'':2A', '''a'' & !''b''', 4294967295, 'pg_class', 'FFFFFFFF/FFFFFFFF', '18446744073709551615', '10:20:10,14', '$.a[*] ? (@ > 1)', '1 2',
  '[0:1]={1,NULL}', ARRAY['a,b', 'NULL', NULL, '', '"q"'], ARRAY[box '(1,1),(0,0)', box '(2,2),(1,1)'], ARRAY[B'101'], ARRAY['sad']::mood[], 'o''k "x", y', 7,
  '"in a domain"', '(1,"x, y")', ARRAY[(1,NULL)::pair], repeat('x', 100000));
INSERT INTO types (id, n, f4, f8, ts, tz, d, t, byt, jb, j, r4, ai)
  VALUES (2, 'Infinity', 'NaN', '-Infinity', 'infinity', '-infinity', '-infinity', '', '', '"text"', '"text"', 'empty', '{}');
INSERT INTO types (id, n, f4, f8, ts, tz, d, iv, t, jb, j)
  VALUES (3, '-Infinity', '-0', '1e308', '4713-11-24 00:00:00 BC', '294276-12-31 23:59:59+00', '4713-11-24 BC', '-100000000 days', 'NULL', 'null', ' null ');
INSERT INTO types (id, n, f4, f8, t, jb) VALUES (4, repeat('9', 1000)::numeric / 7, '1.17549435e-38', '2.2250738585072014e-308', 'null', '[]');
INSERT INTO types (id, t, x) VALUES (5, E'\\x41 \\'' '' DEFAULT', 'text <a/> fragment');
UPDATE types SET big = 'b' WHERE id = 0; UPDATE types SET t = 'patched' WHERE id = 1; UPDATE types SET id = 11 WHERE id = 1)";

TEST_F(Replica, ValuesOfEveryTypeSurviveTheTrip) {
  app_sql(kTypes);
  app_sql(kTypesTable);
  capture("\"public.types\"", "create = true");
  app_sql(kTypesRows);
  ASSERT_EQ(carry(), kHalted) << applied_log();
  EXPECT_NE(applied_log().find("public.mood"), std::string::npos) << applied_log();
  applier_sql(kTypes);
  // What a role or a database sets must not change what a literal means.
  for (const char* setting :
       {"IntervalStyle = 'sql_standard'", "lc_monetary = 'C.UTF-8'", "xmloption = 'document'",
        "DateStyle = 'SQL, DMY'", "TimeZone = 'Asia/Kolkata'", "standard_conforming_strings = off",
        "array_nulls = off"})
    target_sql(std::string("ALTER ROLE applier SET ") + setting);
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("types");
  EXPECT_GT(target_sql(rows("types")).size(), 100'000U);
  EXPECT_EQ(target_sql("SELECT count(*) FROM types WHERE jb = 'null' AND j::text = ' null '"), "1");
  const auto* definition =
      "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || attnotnull, ', ' "
      "ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'types'::regclass AND attnum > 0";
  EXPECT_EQ(target_sql(definition), sql(definition));
  EXPECT_EQ(verify(), 0) << output();
  // So many that they are copied.
  watch_inserts("types");
  app_sql(
      "CREATE TEMP TABLE more AS SELECT t.*, row_number() OVER () AS number FROM types t, "
      "generate_series(1, 20); UPDATE more SET id = 1000 + number; "
      "ALTER TABLE more DROP number; INSERT INTO types SELECT * FROM more");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("types");
  EXPECT_EQ(inserts(), "COPY");
  EXPECT_EQ(target_sql("SELECT count(*) FROM types"), "126");
}

TEST_F(Replica, NewRowsAreCopiedInTheOrderOfTheirChanges) {
  both(
      "CREATE TABLE seat (id int PRIMARY KEY, guest text UNIQUE); "
      "CREATE TABLE part (id int PRIMARY KEY, name text, of int REFERENCES part); "
      "CREATE TABLE note (line text)");
  app_sql("ALTER TABLE note REPLICA IDENTITY FULL");
  capture("\"public.seat\", \"public.part\", \"public.note\"");
  app_sql(
      "INSERT INTO seat VALUES (0, 'g1'), (1000, 'g1000'); INSERT INTO part VALUES (0, 'all', "
      "NULL)");
  ASSERT_EQ(carry(), 0) << applied_log();
  for (const char* table : {"seat", "part", "note"}) watch_inserts(table);
  // A guest moves to a row that is new, and gives the seat of another back.
  app_sql(
      "BEGIN; UPDATE seat SET guest = 'g0' WHERE id = 0; "
      "INSERT INTO seat SELECT i, 'g' || i FROM generate_series(1, 60) i; "
      "UPDATE seat SET guest = 'g61' WHERE id = 1000; "
      "INSERT INTO seat SELECT 1000 + i, 'g' || 999 + i FROM generate_series(1, 60) i; COMMIT");
  // A row refers to one whose last change is later.
  app_sql(
      "BEGIN; INSERT INTO part SELECT i, 'p', 0 FROM generate_series(1, 60) i; "
      "UPDATE part SET of = 60 WHERE id = 0; "
      "UPDATE part SET name = 'q' WHERE id > 0; COMMIT");
  app_sql("INSERT INTO note SELECT E'a\\tb\\\\n' || i FROM generate_series(1, 60) i");
  ASSERT_EQ(carry(), 0) << applied_log();
  for (const char* table : {"seat", "part", "note"}) expect_same(table);
  EXPECT_EQ(target_sql("SELECT string_agg(how, ' ' ORDER BY number) FROM inserts WHERE into_table "
                       "= 'seat'"),
            "INSE COPY INSE COPY");
  EXPECT_EQ(target_sql("SELECT string_agg(how, ' ') FROM inserts WHERE into_table = 'part'"),
            "INSE");
  EXPECT_EQ(target_sql("SELECT string_agg(how, ' ') FROM inserts WHERE into_table = 'note'"),
            "COPY");
}

TEST_F(Replica, RowsThatWereThereBeforeTheyWereCopiedAreWrittenOver) {
  both(
      "CREATE TABLE item (id int PRIMARY KEY, name text); CREATE TABLE line (text text); "
      "CREATE TABLE log (text text); ALTER TABLE line REPLICA IDENTITY FULL");
  applier_sql(
      "INSERT INTO item SELECT i, 'old' FROM generate_series(30, 90) i; "
      "CREATE RULE keep AS ON INSERT TO line DO ALSO INSERT INTO log VALUES (NEW.text)");
  watch_inserts("item");
  capture("\"public.item\", \"public.line\"");
  app_sql("INSERT INTO item SELECT i, 'new' FROM generate_series(1, 100) i");
  app_sql("INSERT INTO line SELECT i::text FROM generate_series(1, 60) i");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  expect_same("line");
  EXPECT_EQ(inserts(), "INSE");
  EXPECT_EQ(target_sql("SELECT count(*) FROM log"), "60") << "COPY passes rules by";
}

// Behind rows that were copied, and where a constraint that is not the key finds it first.
TEST_F(Replica, RowsThatWereThereAreFoundInALaterRunAndByAnExclusionConstraint) {
  both(
      "CREATE TABLE item (id int PRIMARY KEY, name text); "
      "CREATE TABLE room (id int, slot int, EXCLUDE USING btree (slot WITH =)); "
      "ALTER TABLE room ADD PRIMARY KEY (id)");
  app_sql("INSERT INTO item VALUES (0, 'first')");
  applier_sql(
      "INSERT INTO item SELECT i, 'old' FROM generate_series(180, 190) i; "
      "INSERT INTO room SELECT i, i FROM generate_series(30, 90) i");
  for (const char* table : {"item", "room"}) watch_inserts(table);
  capture("\"public.item\", \"public.room\"");
  app_sql(
      "BEGIN; INSERT INTO item SELECT i, 'new' FROM generate_series(1, 100) i; "
      "UPDATE item SET name = 'changed' WHERE id = 0; "
      "INSERT INTO item SELECT i, 'new' FROM generate_series(101, 200) i; COMMIT");
  app_sql("INSERT INTO room SELECT i, i FROM generate_series(1, 100) i");
  ASSERT_EQ(carry(), 0) << applied_log();
  for (const char* table : {"item", "room"}) expect_same(table);
  EXPECT_EQ(target_sql("SELECT string_agg(how, ' ' ORDER BY number) FROM inserts WHERE into_table "
                       "= 'item'"),
            "COPY INSE INSE");
  EXPECT_EQ(target_sql("SELECT string_agg(how, ' ') FROM inserts WHERE into_table = 'room'"),
            "INSE");
}

// A new row takes a value that an older one gives up and changes again later: neither by COPY nor
// by upserts in the order of last changes, only change by change.
TEST_F(Replica, NewRowsThatTakeAUniqueValueFromARowThatChangesAgainAreWritten) {
  both("CREATE TABLE seat (id int PRIMARY KEY, guest text UNIQUE)");
  capture("\"public.seat\"");
  app_sql("INSERT INTO seat VALUES (0, 'g7')");
  ASSERT_EQ(carry(), 0) << applied_log();
  app_sql(
      "BEGIN; UPDATE seat SET guest = 'g0' WHERE id = 0; "
      "INSERT INTO seat SELECT i, 'g' || i FROM generate_series(1, 60) i; "
      "UPDATE seat SET guest = 'g61' WHERE id = 0; COMMIT");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("seat");
}

TEST_F(Replica, NewRowsThatTheTargetCannotHoldStopItAndGoInOnceItCan) {
  app_sql("CREATE TABLE item (id int PRIMARY KEY, n bigint)");
  applier_sql("CREATE TABLE item (id int PRIMARY KEY, n smallint)");
  watch_inserts("item");
  capture("\"public.item\"");
  app_sql("INSERT INTO item SELECT i, 1000 * i FROM generate_series(1, 60) i");
  ASSERT_EQ(carry(), kPoison) << applied_log();
  EXPECT_NE(applied_log().find("out of range"), std::string::npos) << applied_log();
  EXPECT_EQ(target_sql("SELECT count(*) FROM item"), "0");
  applier_sql("ALTER TABLE item ALTER n TYPE bigint");
  ASSERT_EQ(postrider({"apply", "retry", "copy", "--config", replica_config("retry")}), 0)
      << output();
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  EXPECT_EQ(inserts(), "COPY");
}

// Rules rewrite an INSERT and know nothing of COPY; of a table with a key, PostgreSQL refuses to
// upsert.
TEST_F(Replica, ATableWithAKeyAndRulesIsNotCopiedPastThem) {
  both("CREATE TABLE item (id int PRIMARY KEY, name text)");
  applier_sql(
      "CREATE TABLE log (name text); "
      "CREATE RULE keep AS ON INSERT TO item DO ALSO INSERT INTO log VALUES (NEW.name)");
  capture("\"public.item\"");
  app_sql("INSERT INTO item SELECT i, 'new' FROM generate_series(1, 60) i");
  EXPECT_EQ(carry(), kPoison) << applied_log();
  EXPECT_NE(applied_log().find("rules"), std::string::npos) << applied_log();
  EXPECT_EQ(target_sql("SELECT count(*) FROM item"), "0");
}

TEST_F(Replica, HostileNamesAreNamesLikeOthers) {
  const std::string schema = R"("s""; DROP")";
  const std::string full =
      schema + ".\"select.*>\xc3\xa9 " + std::string(50, 'z') + "'\"";  // 63 bytes
  const std::string key = "\"order by\n\\\"\"\"";
  sql("CREATE SCHEMA " + schema);
  target_sql("CREATE SCHEMA " + schema + "; GRANT ALL ON SCHEMA " + schema + " TO applier");
  sql("CREATE TABLE " + full + " (" + key +
      " text, \"user\" text, \"t\" text, \"v\" text, \"$1\" int, \"?\" int, \"{\xe2\x82\xac}\" "
      "text, "
      "PRIMARY KEY (" +
      key + ", \"user\"))");
  replicate("[[capture]]\ntables = ['*.select*']\n",
            "[[replica]]\nschema = 's\"; DROP'\ncreate = true\n");
  sql("INSERT INTO " + full +
      " SELECT 'k' || i, '\"u''' || i, 'x', E'\\n', i, -i, '\xe2\x82\xac' FROM generate_series(1, "
      "20) i");
  sql("UPDATE " + full + " SET \"?\" = 7 WHERE \"$1\" < 5");
  sql("UPDATE " + full + " SET \"user\" = \"user\" || '!' WHERE \"$1\" = 6");
  sql("DELETE FROM " + full + " WHERE \"$1\" = 8");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same(full);
  EXPECT_EQ(target_sql("SELECT count(*) FROM " + full), "19");
  EXPECT_EQ(verify(), 0) << output();
  // By the command, or by what it prints.
  const auto create = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"replica", "create", "copy"});
    arguments.insert(arguments.end(), {"--config", replica_config("create")});
    EXPECT_EQ(postrider(arguments), 0) << output();
    return output();
  };
  applier_sql("DROP TABLE " + full);
  const auto statement = create({"--print"});
  EXPECT_NE(create({}).find("made    s\"; DROP.select"), std::string::npos) << output();
  EXPECT_EQ(target_sql("SELECT count(*) FROM " + full), "0");
  applier_sql("DROP TABLE " + full);
  applier_sql(statement);
  EXPECT_NE(create({}).find("exists  s\"; DROP.select"), std::string::npos) << output();
}

TEST_F(Replica, ForeignKeysAndUniqueConstraintsHoldAtEachCommit) {
  both(
      "CREATE TABLE customer (id int PRIMARY KEY, code text UNIQUE, boss int REFERENCES customer); "
      "CREATE TABLE purchase (id int PRIMARY KEY, customer int NOT NULL REFERENCES customer); "
      "CREATE TABLE a_line (id int PRIMARY KEY, purchase int NOT NULL REFERENCES purchase, big "
      "text); ALTER TABLE a_line ALTER big SET STORAGE EXTERNAL");
  capture("\"public.*\"");
  const auto expect_all_same = [&] {
    for (const char* table : {"customer", "purchase", "a_line"}) expect_same(table);
  };
  // Parents and children of several transactions in one batch; deletes of both; values swapped.
  app_sql(
      "INSERT INTO customer VALUES (1, 'a', 1), (2, 'b', 3), (3, 'c', 1); INSERT INTO purchase "
      "VALUES "
      "(10, 1), (11, 2); INSERT INTO a_line SELECT i, 10 + i % 2, repeat('x', 5000) FROM "
      "generate_series(1, 6) i");
  app_sql(
      "BEGIN; UPDATE customer SET code = 'x' WHERE id = 1; UPDATE customer SET code = 'a' WHERE id "
      "= 2; UPDATE customer SET code = 'b' WHERE id = 1; COMMIT");
  app_sql(
      "INSERT INTO customer VALUES (4, 'd'); UPDATE a_line SET purchase = 11; DELETE FROM purchase "
      "WHERE id = 10; INSERT INTO purchase VALUES (12, 4); UPDATE a_line SET purchase = 12 WHERE "
      "id = 1");
  app_sql(
      "UPDATE customer SET boss = NULL; DELETE FROM customer WHERE id = 1; INSERT INTO customer "
      "VALUES (5, 'b', 4)");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_all_same();
  // Set-wise in no order at all: only the order of the changes is right.
  app_sql(
      "BEGIN; UPDATE customer SET code = 'x' WHERE id = 2; UPDATE customer SET code = 'a' WHERE id "
      "= 4; UPDATE customer SET code = 'd' WHERE id = 2; COMMIT");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_all_same();
  app_sql("TRUNCATE customer, purchase, a_line; INSERT INTO customer VALUES (1, 'a')");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_all_same();
  EXPECT_EQ(verify(), 0) << output();
}

// The target's cascade would take what the source's statement had moved away before.
TEST_F(Replica, RowsMovedAwayFromADeletedParentOutliveATargetThatCascades) {
  both(
      "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent "
      "int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, big text); ALTER TABLE child "
      "ALTER big SET STORAGE EXTERNAL");
  capture("\"public.*\"");
  app_sql(
      "INSERT INTO parent VALUES (1), (2), (3); INSERT INTO child SELECT i, i, repeat('b', 5000) "
      "FROM generate_series(1, 3) i");
  ASSERT_EQ(carry(), 0) << applied_log();
  app_sql(
      "BEGIN; UPDATE child SET parent = 2 WHERE id = 1; DELETE FROM parent WHERE id = 1; UPDATE "
      "parent SET id = 9 WHERE id = 2; DELETE FROM parent WHERE id = 3; COMMIT");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("parent");
  expect_same("child");
  EXPECT_EQ(target_sql("SELECT string_agg(id || '>' || parent || ' ' || length(big), ',' ORDER BY "
                       "id) FROM child"),
            "1>9 5000,2>9 5000");
  app_sql("UPDATE parent SET id = 2 WHERE id = 9");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("child");
}

TEST_F(Replica, AViolationThatTheSourceDidNotHaveStopsThisReadModel) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY, v int)");
  applier_sql("CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v > 0))");
  capture("\"public.t\"");
  app_sql("INSERT INTO t VALUES (1, 1)");
  app_sql("INSERT INTO t VALUES (2, -1)");
  EXPECT_EQ(carry(), kPoison) << applied_log();
  EXPECT_NE(applied_log().find("t_v_check"), std::string::npos) << applied_log();
  EXPECT_EQ(target_sql("SELECT string_agg(id::text, ',') FROM t"), "1")
      << "what came before is applied";
  EXPECT_EQ(target_sql("SELECT projection || ' ' || sqlstate FROM postrider.stopped"),
            "replica 23514");
  applier_sql("ALTER TABLE t DROP CONSTRAINT t_v_check");
  ASSERT_EQ(postrider({"apply", "retry", "copy", "--config", replica_config("retry")}), 0)
      << output();
  EXPECT_EQ(carry(), 0) << applied_log();
  expect_same("t");
}

TEST_F(Replica, AParkedTransactionIsNotAppliedLate) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY, v int)");
  applier_sql("CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v > 0))");
  replicate("[[capture]]\ntables = [\"public.t\"]\n", "[[replica]]\n",
            "on_poison = \"park\"\nbatch_events = 1");
  app_sql("INSERT INTO t VALUES (1, 1)");
  app_sql("INSERT INTO t VALUES (2, -1)");
  app_sql("UPDATE t SET v = 2 WHERE id = 2");
  ASSERT_EQ(carry(), 0) << applied_log();
  EXPECT_EQ(target_sql("SELECT string_agg(id || ' ' || v, ',' ORDER BY id) FROM t"), "1 1,2 2");
  ASSERT_EQ(target_sql("SELECT count(*) FROM postrider.parked"), "1");
  applier_sql("ALTER TABLE t DROP CONSTRAINT t_v_check");
  EXPECT_EQ(postrider({"apply", "retry", "copy", "--parked", "--config", replica_config("retry")}),
            78)
      << output();
  EXPECT_NE(output().find("newer rows"), std::string::npos) << output();
  expect_same("t");
  EXPECT_EQ(
      postrider({"apply", "skip", "copy", "--parked", "2", "--config", replica_config("skip")}), 0)
      << output();
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.parked"), "0");
}

TEST_F(Replica, TablesWithoutKeyAreBagsOfRows) {
  both(
      "CREATE TABLE bag (a int, j json, p point, c char(4)); ALTER TABLE bag REPLICA IDENTITY "
      "FULL; CREATE TABLE full_id (id int PRIMARY KEY, t text); ALTER TABLE full_id REPLICA "
      "IDENTITY FULL");
  capture("\"public.*\"");
  app_sql(
      "INSERT INTO bag SELECT i % 3, '{\"a\":  1}', '(1,2)', 'x' FROM generate_series(1, 9) i; "
      "INSERT INTO bag VALUES (NULL, NULL, NULL, NULL), (NULL, 'null', NULL, NULL)");
  app_sql("DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE a = 1 LIMIT 2)");
  app_sql(
      "UPDATE bag SET a = 7, j = ' []' WHERE ctid IN (SELECT ctid FROM bag WHERE a = 2 LIMIT 1)");
  app_sql("DELETE FROM bag WHERE j::text = 'null'; UPDATE bag SET c = 'y' WHERE a IS NULL");
  app_sql(
      "INSERT INTO full_id VALUES (1, 'a'), (2, 'b'); UPDATE full_id SET id = id + 5; UPDATE "
      "full_id SET t = 'c' WHERE id = 6; DELETE FROM full_id WHERE id = 7");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("bag");
  expect_same("full_id");
  EXPECT_EQ(verify(), 0) << output();
  app_sql("TRUNCATE bag; INSERT INTO bag (a) VALUES (1), (1)");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("bag");
}

TEST_F(Replica, ATransactionLargerThanMemoryIsWrittenInPieces) {
  both(
      "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, v text, "
      "parent int REFERENCES parent)");
  replicate("[[capture]]\ntables = [\"public.*\"]\n", "[[replica]]\n", "batch_bytes = 65536");
  app_sql(
      "BEGIN; INSERT INTO parent SELECT generate_series(1, 10); INSERT INTO t SELECT i, "
      "repeat('v', 100), i % 10 + 1 FROM generate_series(1, 5000) i; UPDATE t SET id = -id WHERE "
      "id % 3 = 0; DELETE FROM t WHERE id % 7 = 0; COMMIT");
  const auto relay = start("relay", {}, {"--until-caught-up"});
  ASSERT_EQ(relay->wait(dev::milliseconds{60'000}), 0) << relay->log();
  const auto doomed = start("apply", "apply.between_pieces=kill@3", {"--until-caught-up"});
  ASSERT_EQ(doomed->wait(dev::milliseconds{60'000}), 128 + 9) << doomed->log();
  EXPECT_EQ(target_sql("SELECT count(*) FROM t"), "0");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("t");
  expect_same("parent");
}

}  // namespace
}  // namespace postrider::test
