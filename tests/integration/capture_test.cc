// Captured tables, from the service's SQL to a copy that PostgreSQL itself makes from the stream's
// JSON and compares.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr dev::milliseconds kPatience{60'000};

class Capture : public World {
 protected:
  // The configuration of `captures`, as TOML, migrated and carried from now on.
  void capture(const std::string& captures) {
    captures_ = captures;
    ASSERT_EQ(postrider({"migrate", "up", "--config", config("capture")}), 0) << output();
  }
  std::string config(const std::string& name) {
    auto settings = quick();
    settings["migrate.conninfo"] = "\"" + superuser() + "\"";  // the tables are the service's
    const auto path = write_config(settings, name);
    std::ofstream(path, std::ios::app) << captures_;
    return path.string();
  }
  std::unique_ptr<RelayProcess> relay(const std::vector<std::string>& arguments = {},
                                      const std::string& failpoints = {}) {
    return std::make_unique<RelayProcess>(config("relay"), folder_ / "relay.log", failpoints,
                                          arguments);
  }
  void carry() {
    const auto process = relay({"--until-caught-up"});
    ASSERT_EQ(process->wait(kPatience), 0) << process->log();
  }
  std::vector<StreamMessage> stream() { return nats_client().read_stream(kStream); }

  // Makes `copy` of what the stream says of table "schema"."table", whose key is `id`: as a reader
  // in any language would, with the row's JSON.
  void rebuild(const std::string& table, const std::string& copy) {
    sql("DROP TABLE IF EXISTS " + copy + "; CREATE TABLE " + copy + " (LIKE " + table + ")");
    for (const auto& message : stream()) {
      const std::string json = "$postrider$" + message.data + "$postrider$::json";
      const auto type = message.header("Postrider-Type");
      const std::string record = "json_populate_record(NULL::" + copy + ", " + json + "->'new')";
      if (type == "insert")
        sql("INSERT INTO " + copy + " SELECT * FROM " + record);
      else if (type == "update")
        sql("WITH old AS (DELETE FROM " + copy + " WHERE id = (coalesce(" + json +
            "->'old'->>'id', " + json + "->'new'->>'id'))::int RETURNING *) INSERT INTO " + copy +
            " SELECT (json_populate_record(old::" + copy + ", " + json + "->'new')).* FROM old");
      else if (type == "delete")
        sql("DELETE FROM " + copy + " WHERE id = (" + json + "->'old'->>'id')::int");
      else if (type == "truncate")
        sql("TRUNCATE " + copy);
    }
  }
  std::string text_of(const std::string& table) {
    return sql(
        "SET lc_monetary = 'C'; SELECT coalesce(string_agg(whole::text, E'\\n' ORDER BY id), '') "
        "FROM " +
        table + " AS whole");
  }

  std::string captures_;
};

TEST_F(Capture, ValuesOfEveryTypeSurviveTheTrip) {
  app_sql(R"(
CREATE TYPE mood AS ENUM ('sad', 'o''k "x", y');
CREATE DOMAIN cents AS int CHECK (value >= 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE types (id int PRIMARY KEY, i2 int2, i8 int8, n numeric, n2 numeric(30,10), f4 float4, f8 float8,
  mny money, b bool, c char(5), vc varchar(40), t text, nm name, ch "char", byt bytea, ts timestamp, tz timestamptz,
  d date, ti time, tiz timetz, iv interval, u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, ma macaddr,
  ma8 macaddr8, bi bit(3), vb varbit, po point, li line, ls lseg, bx box, pa path, pol polygon, cr circle,
  r4 int4range, r8 int8range, rn numrange, rd daterange, rts tsrange, rtz tstzrange, mr int4multirange,
  tsv tsvector, tsq tsquery, o oid, rc regclass, lsn pg_lsn, xi xid8, sn pg_snapshot, jp jsonpath,
  ai int[], att text[], am mood[], mo mood, dm cents, pr pair, apr pair[], big text))");
  capture("[[capture]]\ntables = [\"public.types\"]\n");
  app_sql(R"(
INSERT INTO types (id) VALUES (0);
INSERT INTO types VALUES (1, -32768, 9223372036854775807, 'NaN', 12345678901234567890.0123456789, '1.1', '0.1', '1234.5', true,
  'ab', 'x', E'quote " back \\ tab \t line \r\n bell \x07 del \x7f \u00e9 \U0001F600 \u2028', 'name', 'c', '\x00ff10', '2026-01-31 23:59:59.123456',
  '2026-06-30 12:00:00+05:30', '2026-02-28', '23:59:59.999999', '12:00:00.5-08', '1 year -2 mons 3 days 04:05:06.789', '00112233-4455-6677-8899-aabbccddeeff',
  '{"b": 1,  "a": [1e400, "\u0001", null], "a": 2}', '{"k": 12345678901234567890.10, "n": null}', '<a b="c">d</a>', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03',
  '08:00:2b:01:02:03:04:05', B'101', B'1', '(1,2)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1))', '<(0,0),5>',
  '[1,5)', '(,9]', '[1.5,2.5]', '[2026-01-01,infinity)', '[2026-01-01 00:00, 2026-01-02 00:00)', '[2026-01-01 00:00+00,)', '{[1,3),[5,7)}',
  '''a'':1 ''b c'':2A', '''a'' & !''b''', 4294967295, 'pg_class', 'FFFFFFFF/FFFFFFFF', '18446744073709551615', '10:20:10,14', '$.a[*] ? (@ > 1)',
  '[0:1]={1,NULL}', ARRAY['a,b', 'NULL', NULL, '', '"q"'], ARRAY['sad']::mood[], 'o''k "x", y', 7, '(1,"x, y")', ARRAY[(1,NULL)::pair], repeat('x', 100000));
INSERT INTO types (id, n, f4, f8, ts, tz, d, t, byt, jb, r4, ai) VALUES (2, 'Infinity', 'NaN', '-Infinity', 'infinity', '-infinity', '-infinity', '', '', '"text"', 'empty', '{}');
INSERT INTO types (id, n, f4, f8, ts, tz, d, iv, t, jb) VALUES (3, '-Infinity', '-0', '1e308', '4713-11-24 00:00:00 BC', '294276-12-31 23:59:59+00', '4713-11-24 BC',
  '-178000000 years', 'NULL', '[]');
INSERT INTO types (id, n, f4, f8, t) VALUES (4, repeat('9', 1000)::numeric / 7, '1.17549435e-38', '2.2250738585072014e-308', 'null'))");
  carry();
  ASSERT_EQ(stream().size(), 5U);
  rebuild("types", "types_copy");
  EXPECT_EQ(text_of("types_copy"), text_of("types"));
  EXPECT_GT(text_of("types").size(), 100'000U);
}

TEST_F(Capture, ACopyFollowsEveryKindOfChange) {
  app_sql(
      "CREATE TABLE item (id int PRIMARY KEY, name text, big text); "
      "CREATE TABLE loud (id int PRIMARY KEY, name text, big text); "
      "ALTER TABLE loud REPLICA IDENTITY FULL; "
      "CREATE TABLE part (id int, name text, PRIMARY KEY (id)) PARTITION BY RANGE (id); "
      "CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (10); "
      "CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (10) TO (20)");
  for (const char* table : {"item", "loud"})
    app_sql(std::string("ALTER TABLE ") + table + " ALTER big SET STORAGE EXTERNAL");
  const std::vector<std::string> tables = {"item", "loud", "part"};
  for (const auto& table : tables) {
    capture("[[capture]]\ntables = [\"public.item\", \"public.loud\", \"public.part\"]\n");
    const bool large = table != "part";
    app_sql("INSERT INTO " + table + " SELECT i, 'n' || i" + (large ? ", repeat('b', 20000)" : "") +
            " FROM generate_series(1, 9) i");
    app_sql("UPDATE " + table + " SET name = 'changed' WHERE id <= 4");
    app_sql("UPDATE " + table + " SET id = id + 9 WHERE id = 2");  // to another partition
    app_sql("DELETE FROM " + table + " WHERE id = 3");
    app_sql("BEGIN; INSERT INTO " + table + " (id) VALUES (17); ROLLBACK");
    app_sql("BEGIN; SAVEPOINT a; DELETE FROM " + table + "; ROLLBACK TO a; UPDATE " + table +
            " SET name = 'after' WHERE id = 5; COMMIT");
    // The table changes between two changes of one transaction.
    app_sql("BEGIN; INSERT INTO " + table + " (id, name) VALUES (18, 'before'); ALTER TABLE " +
            table + " ADD COLUMN extra int DEFAULT 7; INSERT INTO " + table +
            " (id, extra) VALUES (19, 8); "
            "ALTER TABLE " +
            table + " RENAME COLUMN name TO title; UPDATE " + table +
            " SET title = 'renamed' WHERE id = 19; COMMIT");
    app_sql("ALTER TABLE " + table + " ALTER extra TYPE text USING extra || '!'");
    app_sql("UPDATE " + table + " SET extra = 'text' WHERE id = 18");
    app_sql("ALTER TABLE " + table + " RENAME COLUMN title TO name");
    carry();
    const auto messages = stream();
    ASSERT_FALSE(messages.empty());
    for (const auto& message : messages)
      EXPECT_EQ(message.subject.rfind("shop.cdc.public." + table, 0) == 0 ||
                    message.subject.rfind("shop.cdc.public.", 0) == 0,
                true)
          << message.subject;
  }
  // What a reader that knew the newest columns alone makes of it: those that were renamed
  // meanwhile come under their names of the time.
  const auto payload_of = [&](const std::string& needle) {
    for (const auto& message : stream())
      if (message.data.find(needle) != std::string::npos) return message.data;
    return std::string("none: ") + needle;
  };
  EXPECT_EQ(
      payload_of(R"("table":"item","new":{"id":18)"),
      R"({"op":"insert","schema":"public","table":"item","new":{"id":18,"name":"before","big":null}})");
  EXPECT_EQ(
      payload_of(R"("title":"renamed")"),
      R"({"op":"update","schema":"public","table":"item","new":{"id":19,"title":"renamed","big":null,"extra":8}})");
  EXPECT_EQ(
      payload_of(R"("extra":"text")"),
      R"({"op":"update","schema":"public","table":"item","new":{"id":18,"title":"before","big":null,"extra":"text"}})");
  EXPECT_NE(payload_of(R"("op":"update","schema":"public","table":"item","new":{"id":1,)")
                .find(R"("unchanged":["big"])"),
            std::string::npos)
      << "a large value that was not touched is marked";
  EXPECT_EQ(payload_of(R"("table":"loud","new":{"id":11)").find("unchanged"), std::string::npos)
      << "a full old row says what it is";
  EXPECT_NE(payload_of(R"("op":"update","schema":"public","table":"loud","new":{"id":1,)")
                .find(R"("old":{"id":1,"name":"n1","big":"b)"),
            std::string::npos);
  EXPECT_EQ(payload_of("part_low").substr(0, 5), "none:") << "partitions come under their root";
}

// reg* types are told with their schema unless the search_path finds them.
TEST_F(Capture, TheSearchPathOfTheRoleLeavesNamesAsTheyAre) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY, rc regclass, rt regtype)");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  const std::vector<std::string> paths = {"DEFAULT", "outbox", "public", "pg_catalog, public"};
  for (std::size_t i = 0; i < paths.size(); ++i) {
    sql("ALTER ROLE relay SET search_path TO " + paths[i]);
    app_sql("INSERT INTO t VALUES (" + std::to_string(i) + ", 'public.t', 'public.t')");
    carry();
  }
  const auto messages = stream();
  ASSERT_EQ(messages.size(), paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i)
    EXPECT_NE(messages[i].data.find(R"("rc":"public.t","rt":"public.t")"), std::string::npos)
        << paths[i] << ": " << messages[i].data;
}

// What a person can check by SQL: docs/capture.md, "Columns".
TEST_F(Capture, HashesAreThoseThatPostgreSqlMakes) {
  app_sql(
      "CREATE TABLE t (id int PRIMARY KEY, mail text, ok bool, n numeric, c char(4), b bytea, "
      "at timestamptz)");
  capture(
      "[[capture]]\ntables = [\"public.t\"]\nhash = [\"mail\", \"ok\", \"n\", \"c\", \"b\", "
      "\"at\"]\n"
      "hash_salt = 'sa\"lt\u00e9'\nrename = { mail = \"mail_hash\" }\n");
  app_sql(
      R"(INSERT INTO t VALUES (1, NULL, NULL, NULL, NULL, NULL, NULL),
      (2, '', true, 1.50, 'a', '\x00ff', '2026-01-01 12:00+02'), (3, E'\U0001F600 \n"\\', false, 'NaN', 'abcd', '', 'infinity');
      UPDATE t SET mail = repeat(E'\u00fc', 100000) WHERE id = 1)");
  carry();
  const auto messages = stream();
  ASSERT_EQ(messages.size(), 4U);
  for (const auto& message : messages) {
    const auto id = *message.header("Postrider-Key");
    const bool updated = message.header("Postrider-Type") == "update";
    if (id == "1" && !updated) {
      EXPECT_EQ(message.data.find("\"mail_hash\":null"), message.data.find("\"mail_hash\""));
      continue;
    }
    EXPECT_EQ(
        sql("SET TIME ZONE 'UTC'; SELECT bool_and(coalesce(j.value = encode(sha256(convert_to("
            "'sa\"lt\u00e9' || w.value, 'UTF8')), 'hex'), j.value IS NULL AND w.value IS NULL)) "
            "FROM t, LATERAL (VALUES ('mail_hash', t.mail), ('ok', format('%s', t.ok)), ('n', "
            "t.n::text), "
            "('c', format('%s', t.c)), ('b', t.b::text), ('at', t.at::text)) AS w (name, value), "
            "LATERAL (SELECT $j$" +
            message.data + "$j$::jsonb->'new'->>w.name AS value) AS j WHERE id = " + id +
            (updated ? " AND w.name = 'mail_hash'" : "")),
        "t")
        << message.data.substr(0, 1000);
  }
}

TEST_F(Capture, RandomChangesMakeTheSameTable) {
  app_sql(
      "CREATE TABLE t (id int PRIMARY KEY, v int, big text); "
      "ALTER TABLE t ALTER big SET STORAGE EXTERNAL");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  // Changes of every kind, killed relays between; seeded in the database, so that a run repeats.
  // No truncation near the end: it would hide what went wrong before.
  app_sql(R"(DO $$ DECLARE r int; k int; BEGIN
  PERFORM setseed(0.20261125);
  FOR i IN 1..600 LOOP
    r := floor(random() * 100); k := floor(random() * 40);
    BEGIN
      CASE
        WHEN r < 35 THEN INSERT INTO t VALUES (k, i, repeat(chr(97 + i % 26), 3000)) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
        WHEN r < 55 THEN UPDATE t SET v = i WHERE id = k;
        WHEN r < 70 THEN UPDATE t SET id = floor(random() * 40) WHERE id = k;
        WHEN r < 85 THEN DELETE FROM t WHERE id = k;
        WHEN r < 95 THEN UPDATE t SET big = NULL WHERE id = k;
        WHEN r < 98 OR i > 200 THEN INSERT INTO t VALUES (k, -1, 'aborted'); RAISE EXCEPTION 'roll this back';
        ELSE TRUNCATE t;
      END CASE;
    EXCEPTION WHEN unique_violation OR raise_exception THEN NULL;
    END;
    IF i % 7 = 0 THEN COMMIT; END IF;
  END LOOP; END $$)");
  for (const char* point : {"publish.mid_transaction=kill@40", "ack.after_handle=kill@70"}) {
    const auto process = relay({"--until-caught-up"}, point);
    ASSERT_EQ(process->wait(kPatience), 128 + 9) << process->log();
  }
  carry();
  const auto messages = stream();
  EXPECT_GT(messages.size(), 150U);
  EXPECT_GT(std::ranges::count_if(messages,
                                  [](const StreamMessage& message) {
                                    return message.data.find("\"unchanged\"") != std::string::npos;
                                  }),
            50);
  rebuild("t", "t_copy");
  EXPECT_EQ(text_of("t_copy"), text_of("t"));
}

TEST_F(Capture, EventsAndRowsOfATransactionStandTogetherInOrder) {
  app_sql("CREATE TABLE first (id int PRIMARY KEY); CREATE TABLE second (id int PRIMARY KEY)");
  capture(
      "[[capture]]\ntables = [\"public.first\"]\nsubject = \"rows.{op}.{key}\"\n"
      "[[capture]]\ntables = [\"public.sec*\"]\nformat = \"debezium\"\n");
  app_sql(
      "BEGIN; INSERT INTO first VALUES (1); SELECT outbox.emit('order.placed', '{}'); "
      "INSERT INTO second VALUES (2); SELECT outbox.emit('order.late', '{}', store => 'table'); "
      "COMMIT");
  app_sql("TRUNCATE first, second");
  carry();
  const auto messages = stream();
  ASSERT_EQ(messages.size(), 6U);
  EXPECT_EQ(messages[0].subject, "shop.rows.insert.1");
  EXPECT_EQ(messages[0].header("Postrider-Key"), "1");
  EXPECT_EQ(messages[0].header("Postrider-Id"), std::nullopt);
  EXPECT_EQ(messages[1].subject, "shop.order.placed");
  EXPECT_EQ(messages[2].subject, "shop.cdc.public.second");
  EXPECT_EQ(nlohmann::json::parse(messages[2].data)["after"]["id"], 2);
  EXPECT_EQ(messages[3].subject, "shop.order.late");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto place = *messages[i].header("Postrider-Position");
    EXPECT_EQ(place.rfind("v1 " + std::to_string(i + 1) + " ", 0), 0U) << place;
    EXPECT_EQ(place.size() > 5 && place.substr(place.size() - 5) == " last", i == 3 || i == 5)
        << place;
  }
  EXPECT_EQ(messages[4].header("Postrider-Type"), "truncate");
  EXPECT_EQ(messages[5].header("Postrider-Type"), "truncate");
  EXPECT_EQ(postrider({"verify", "stream", "--config", config("verify")}), 0) << output();
  EXPECT_NE(output().find("4 are row changes"), std::string::npos) << output();
}

TEST_F(Capture, ADeletionCanBeFollowedByATombstone) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
  capture("[[capture]]\ntables = [\"public.t\"]\nformat = \"debezium\"\ntombstones = true\n");
  app_sql("INSERT INTO t VALUES (1, 'x'), (2, 'y')");
  app_sql("BEGIN; DELETE FROM t WHERE id = 1; UPDATE t SET v = 'z'; DELETE FROM t; COMMIT");
  for (const char* point : {"publish.between_parts=kill@1", "ack.after_handle=kill@4"}) {
    const auto process = relay({"--until-caught-up"}, point);
    ASSERT_EQ(process->wait(kPatience), 128 + 9) << process->log();
  }
  carry();
  const auto messages = stream();
  std::string types;
  for (const auto& message : messages) types += *message.header("Postrider-Type") + " ";
  ASSERT_EQ(types, "insert insert delete tombstone update delete tombstone ");
  for (const std::size_t i : {3U, 6U}) {
    EXPECT_EQ(messages[i].data, "");
    EXPECT_EQ(messages[i].subject, messages[i - 1].subject);
    EXPECT_EQ(messages[i].header("Postrider-Key"), messages[i - 1].header("Postrider-Key"));
    EXPECT_EQ(messages[i].header("Content-Type"), std::nullopt);
    EXPECT_EQ(*messages[i].header("Nats-Msg-Id"), *messages[i - 1].header("Nats-Msg-Id") + ".0001");
    EXPECT_EQ(messages[i].header("Postrider-Position")->ends_with(" last"), i == 6);
  }
  EXPECT_FALSE(messages[5].header("Postrider-Position")->ends_with(" last"));
  EXPECT_EQ(postrider({"verify", "stream", "--config", config("verify")}), 0) << output();
}

TEST_F(Capture, BeginsWithTheEpochThatAsksForIt) {
  app_sql("CREATE TABLE t (id int PRIMARY KEY, secret text)");
  capture("");
  app_sql("INSERT INTO t VALUES (1, 's'); SELECT outbox.emit('a', '1')");
  carry();
  capture("[[capture]]\ntables = [\"public.t\"]\nexclude = [\"secret\"]\n");
  app_sql("INSERT INTO t VALUES (2, 's')");
  carry();  // below the epoch: the session that opens it begins behind
  app_sql("INSERT INTO t VALUES (3, 's')");
  carry();
  const auto messages = stream();
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages.back().data,
            R"({"op":"insert","schema":"public","table":"t","new":{"id":3}})");
  for (const auto& message : messages) EXPECT_EQ(message.data.find("\"s\""), std::string::npos);
  EXPECT_EQ(messages[0].subject, "shop.a") << "what was committed before it was asked for";
}

// Brought in by an update that does not touch it, a large value comes with the row.
TEST_F(Capture, ARowThatEntersAFilterIsWhole) {
  app_sql(
      "CREATE TABLE t (id int PRIMARY KEY, big text); ALTER TABLE t ALTER big SET STORAGE "
      "EXTERNAL; CREATE TABLE late (id int PRIMARY KEY)");
  const std::string captures =
      "[[capture]]\ntables = [\"public.t\", \"public.late\"]\nwhere = \"id > 10\"\n";
  captures_ = captures;
  EXPECT_EQ(postrider({"migrate", "up", "--config", config("capture")}), 78) << output();
  EXPECT_NE(output().find("ALTER TABLE public.t REPLICA IDENTITY FULL"), std::string::npos);
  app_sql("ALTER TABLE t REPLICA IDENTITY FULL");
  capture(captures);
  app_sql("INSERT INTO t VALUES (1, repeat('b', 20000)), (2, repeat('c', 20000))");
  app_sql("UPDATE t SET id = 11 WHERE id = 1; UPDATE t SET id = 12 WHERE id = 2");
  carry();
  const auto messages = stream();
  ASSERT_EQ(messages.size(), 2U);
  for (const auto& message : messages) {
    EXPECT_EQ(message.header("Postrider-Type"), "insert");
    const auto row = nlohmann::json::parse(message.data)["new"];
    EXPECT_EQ(row["big"].get<std::string>(), std::string(20000, row["id"] == 11 ? 'b' : 'c'));
  }
  app_sql("ALTER TABLE late ADD COLUMN big text");
  EXPECT_EQ(postrider({"check", "--config", config("check")}), 1) << output();
  EXPECT_NE(output().find("may hold large values in column big"), std::string::npos) << output();
  EXPECT_EQ(relay({"--until-caught-up"})->wait(kPatience), 37);
}

TEST_F(Capture, HostileNamesAreNamesLikeOthers) {
  const std::string schema = "s\"; DROP";
  const std::string table = "select.*>\xc3\xa9 " + std::string(40, 'z');
  const auto quoted = [](const std::string& name) {
    std::string text = "\"";
    for (const char c : name) text += c == '"' ? "\"\"" : std::string(1, c);
    return text + "\"";
  };
  const std::string full = quoted(schema) + "." + quoted(table);
  sql("CREATE SCHEMA " + quoted(schema) + "; CREATE TABLE " + full + " (" +
      quoted("order by\n\\\"") + " int PRIMARY KEY, " + quoted("user") + " text)");
  capture("[[capture]]\ntables = ['*.select*']\n");
  sql("INSERT INTO " + full + " VALUES (1, 'x')");
  carry();
  const auto messages = stream();
  ASSERT_EQ(messages.size(), 1U);
  const auto json = nlohmann::json::parse(messages[0].data);
  EXPECT_EQ(json["schema"], schema);
  EXPECT_EQ(json["table"], table);
  EXPECT_EQ(json["new"]["order by\n\\\""], 1);
  EXPECT_EQ(messages[0].subject.substr(0, 9), "shop.cdc.");
  EXPECT_EQ(std::count(messages[0].subject.begin(), messages[0].subject.end(), '.'), 3);
}

TEST_F(Capture, MigrateSaysWhatCannotBeCaptured) {
  app_sql(
      "CREATE TABLE keyless (a int); CREATE UNLOGGED TABLE volatile (id int PRIMARY KEY); "
      "CREATE TABLE good (id int PRIMARY KEY); "
      "CREATE TABLE computed (a int, id int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY); "
      "CREATE TABLE part (id int PRIMARY KEY, u int NOT NULL, UNIQUE (id, u)) PARTITION BY RANGE "
      "(id); "
      "CREATE TABLE part_0 PARTITION OF part FOR VALUES FROM (0) TO (10)");
  const auto refused = [&](const std::string& captures, const std::string& words) {
    captures_ = captures;
    EXPECT_EQ(postrider({"migrate", "up", "--config", config("capture")}), 78) << output();
    EXPECT_NE(output().find(words), std::string::npos) << output();
    EXPECT_EQ(sql("SELECT count(*) FROM pg_publication_tables WHERE pubname = 'postrider_capture'"),
              "0");
  };
  refused("[[capture]]\ntables = [\"public.good\", \"public.keyless\"]\n", "REPLICA IDENTITY FULL");
  refused("[[capture]]\ntables = [\"public.volatile\"]\n", "SET LOGGED");
  refused("[[capture]]\ntables = [\"public.computed\"]\n", "generated column in its replica");
  app_sql("ALTER TABLE part REPLICA IDENTITY FULL");  // which its partition does not take over
  refused("[[capture]]\ntables = [\"public.part\"]\n",
          "public.part_0 has another replica identity");
  app_sql("ALTER TABLE part REPLICA IDENTITY USING INDEX part_id_u_key");
  refused("[[capture]]\ntables = [\"public.part\"]\n",
          "public.part_0 has another replica identity");
  refused("[[capture]]\ntables = [\"public.none\"]\n", "public.none is no table");
  refused("[[capture]]\ntables = [\"public.good\"]\nsubject = \"a.{tabel}\"\n", "{column:NAME}");
  refused("[[capture]]\ntables = [\"public.good\"]\nsubject = \"a b\"\n", "not a subject");
  refused("[[capture]]\ntables = [\"public.good\"]\ncolumns = [\"id\"]\nexclude = [\"x\"]\n",
          "exclude each other");
  refused("[[capture]]\ntabels = [\"public.good\"]\n", "capture.toml:");
  refused("[[capture]]\nsubject = \"a\"\n", "capture.tables is not set");
}

TEST_F(Capture, MigrateFollowsTheConfigurationUnderARunningRelay) {
  app_sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, v int)");
  capture("[[capture]]\ntables = [\"public.a\", \"public.b*\"]\n");
  const auto tables =
      "SELECT coalesce(string_agg(tablename || coalesce(rowfilter, ''), ',' ORDER BY tablename), "
      "'') "
      "FROM pg_publication_tables WHERE pubname = 'postrider_capture'";
  EXPECT_EQ(sql(tables), "a,b");
  const auto process = relay();
  app_sql("INSERT INTO a VALUES (1)");
  ASSERT_TRUE(wait_for_seq(1, kPatience)) << process->log();
  capture("[[capture]]\ntables = [\"public.b\"]\nwhere = \"id > 10\"\n");
  EXPECT_NE(output().find("released  table public.a"), std::string::npos) << output();
  EXPECT_EQ(sql(tables), "b(id > 10)");
  app_sql("INSERT INTO a VALUES (2); INSERT INTO b VALUES (1)");
  app_sql("INSERT INTO b VALUES (11)");
  // Confirmed behind the change: the relay has looked at the publication again.
  const auto lsn = sql("SELECT pg_current_wal_insert_lsn()");
  app_sql("INSERT INTO b VALUES (12); DROP TABLE b");
  EXPECT_TRUE(dev::wait_until(
      [&] {
        return sql("SELECT confirm_to >= '" + lsn + "'::pg_lsn FROM outbox.checkpoint") == "t";
      },
      kPatience))
      << process->log();
  EXPECT_TRUE(process->running()) << process->log();
  EXPECT_EQ(stream().size(), 3U) << "a1, b11, b12";
}

TEST_F(Capture, ATableThatWasRenamedOutOfItsRuleIsNamed) {
  app_sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
  capture("[[capture]]\ntables = [\"public.a\", \"public.b\"]\n");
  const auto first = relay();
  app_sql("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)");
  ASSERT_TRUE(wait_for_seq(2, kPatience)) << first->log();
  EXPECT_EQ(postrider({"status", "--config", config("capture")}), 0) << output();
  EXPECT_EQ(postrider({"check", "--config", config("capture")}), 0) << output();
  EXPECT_EQ(output().find("published table"), std::string::npos) << output();

  app_sql("ALTER TABLE b RENAME TO c");
  app_sql("INSERT INTO c VALUES (2)");
  app_sql("INSERT INTO c VALUES (3); INSERT INTO a VALUES (2)");
  ASSERT_TRUE(wait_for_seq(3, kPatience)) << first->log();
  const auto log = first->log();
  const std::string words = "changes of public.c are not carried";
  EXPECT_NE(log.find(words), std::string::npos) << log;
  EXPECT_EQ(log.find(words), log.rfind(words)) << log;
  EXPECT_EQ(postrider({"status", "--config", config("capture")}), 1) << output();
  EXPECT_NE(output().find("table public.c is published and no [[capture]] names it"),
            std::string::npos)
      << output();
  captures_ = "[[capture]]\ntables = [\"public.a\"]\n";
  EXPECT_EQ(postrider({"check", "--config", config("check")}), 0) << output();
  EXPECT_NE(output().find("published table public.c"), std::string::npos) << output();

  capture("[[capture]]\ntables = [\"public.a\", \"public.c\"]\n");
  EXPECT_EQ(postrider({"check", "--config", config("check")}), 0) << output();
  EXPECT_EQ(output().find("published table"), std::string::npos) << output();
  first->terminate();
  EXPECT_EQ(first->wait(kPatience), 0);
  const auto second = relay();
  ASSERT_TRUE(dev::wait_until(
      [&] { return second->log().find(" starts after ordinal 3 ") != std::string::npos; },
      kPatience))
      << second->log();
  app_sql("INSERT INTO c VALUES (4)");
  ASSERT_TRUE(wait_for_seq(4, kPatience)) << second->log();
  EXPECT_EQ(second->log().find(words), std::string::npos) << second->log();
}

// docs/capture.md, "Partitions".
TEST_F(Capture, WhatIsDoneToOnePartitionIsNotInTheStreamUntilTheTableIsReplaced) {
  app_sql(
      "CREATE TABLE plain (id int PRIMARY KEY); "
      "CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id); "
      "CREATE TABLE part_0 PARTITION OF part FOR VALUES FROM (0) TO (10); "
      "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (10) TO (20); "
      "CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (20) TO (30); "
      "CREATE TABLE part_3 (id int PRIMARY KEY); INSERT INTO part_3 VALUES (30)");
  sql("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO owner");
  const auto check = [&] {
    EXPECT_EQ(postrider({"check", "--config", config("check")}), 0) << output();
    return std::regex_replace(output(), std::regex(" +"), " ");
  };
  capture("[[capture]]\ntables = [\"public.plain\"]\n");
  EXPECT_EQ(check().find("partitioned tables"), std::string::npos) << output();
  capture("[[capture]]\ntables = [\"public.pl*\", \"public.part\"]\n");
  EXPECT_NE(check().find("warn partitioned tables public.part\n"), std::string::npos) << output();

  const auto process = relay();
  ASSERT_TRUE(dev::wait_until(
      [&] { return process->log().find(" starts after ordinal 0 ") != std::string::npos; },
      kPatience))
      << process->log();
  app_sql("INSERT INTO part VALUES (1), (11), (21)");
  app_sql("TRUNCATE part_0");
  app_sql("DROP TABLE part_1");
  app_sql("ALTER TABLE part DETACH PARTITION part_2");
  app_sql("DELETE FROM part_2");
  app_sql("ALTER TABLE part ATTACH PARTITION part_3 FOR VALUES FROM (30) TO (40)");
  app_sql("CREATE TABLE part_4 PARTITION OF part FOR VALUES FROM (40) TO (50)");
  app_sql("INSERT INTO part VALUES (41)");
  ASSERT_TRUE(wait_for_seq(4, kPatience)) << process->log();
  const auto types = [&](std::size_t from) {
    std::string text;
    const auto messages = stream();
    for (auto i = from; i < messages.size(); ++i)
      text += *messages[i].header("Postrider-Type") +
              messages[i].header("Postrider-Key").value_or("") + " ";
    return text;
  };
  EXPECT_EQ(types(0), "insert1 insert11 insert21 insert41 ");

  sql("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO owner");
  ASSERT_EQ(postrider({"backfill", "start", "public.part", "--config", config("backfill"),
                       "--replace", "--follow"}),
            0)
      << output() << process->log();
  EXPECT_EQ(types(4), "truncate read30 read41 ");
  EXPECT_TRUE(process->running()) << process->log();
}

TEST_F(Capture, ATableTakenOutOfThePublicationHaltsTheRelay) {
  app_sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
  capture("[[capture]]\ntables = [\"public.a\", \"public.b\"]\n");
  const auto process = relay();
  app_sql("INSERT INTO a VALUES (1)");
  ASSERT_TRUE(wait_for_seq(1, kPatience)) << process->log();
  sql("ALTER PUBLICATION postrider_capture DROP TABLE b; ALTER PUBLICATION postrider_capture ADD "
      "TABLE b");
  app_sql("INSERT INTO a VALUES (2)");
  EXPECT_EQ(process->wait(kPatience), 31) << process->log();
  EXPECT_NE(process->log().find("does not hold public.b as it did"), std::string::npos)
      << process->log();
  EXPECT_EQ(relay()->wait(kPatience), 31) << "and it stays so";
  capture(captures_);
  EXPECT_NE(output().find("changes made meanwhile are not in the stream"), std::string::npos)
      << output();
  carry();
  EXPECT_EQ(stream().size(), 2U);
}

TEST_F(Capture, APublicationAlteredAndPutBackIsSeenBeforeAnythingIsConfirmedUnderIt) {
  app_sql("CREATE TABLE a (id int PRIMARY KEY)");
  capture("[[capture]]\ntables = [\"public.a\"]\n");
  const auto process = relay();
  app_sql("INSERT INTO a VALUES (1)");
  ASSERT_TRUE(wait_for_seq(1, kPatience)) << process->log();
  sql("ALTER PUBLICATION postrider_capture SET (publish = 'insert')");
  const auto altered = sql("SELECT pg_current_wal_insert_lsn()");
  app_sql("DELETE FROM a");
  sql("ALTER PUBLICATION postrider_capture SET (publish = 'insert, update, delete, truncate')");
  app_sql("INSERT INTO a VALUES (2)");
  ASSERT_EQ(process->wait(kPatience), 31) << process->log();
  EXPECT_NE(process->log().find("was altered since"), std::string::npos) << process->log();
  EXPECT_NE(process->log().find("outbox.accept_capture("), std::string::npos) << process->log();
  EXPECT_EQ(sql("SELECT confirmed_flush_lsn <= '" + altered +
                "' FROM pg_replication_slots WHERE slot_name = 'postrider_shop'"),
            "t");
  EXPECT_EQ(relay()->wait(kPatience), 31) << "and it stays so";
  sql("SELECT outbox.accept_capture('shop')");  // as the remedy says
  carry();
  const auto messages = stream();
  ASSERT_EQ(messages.size(), 2U) << "the delete was not decoded: the owner has said so";
  EXPECT_EQ(messages[1].header("Postrider-Key"), "2");
}

// docs/capture.md, "Upgrading".
TEST_F(Capture, ASourceThatIsOlderThanCapturedTablesGetsThemOnceItHasPassedTheirPublication) {
  app_sql("CREATE TABLE a (id int PRIMARY KEY)");
  // As initialised by a binary that knew nothing of captured tables.
  sql("DROP PUBLICATION postrider_capture; UPDATE outbox.checkpoint SET capture_version = NULL");
  app_sql("SELECT outbox.emit('old', '1')");
  const std::string captures = "[[capture]]\ntables = [\"public.a\"]\n";
  capture(captures);
  const auto early = relay();
  EXPECT_EQ(early->wait(kPatience), 31) << early->log();
  EXPECT_NE(early->log().find("\"Upgrading\""), std::string::npos) << early->log();
  capture("");
  app_sql("SELECT outbox.emit('newer', '2')");
  carry();
  capture(captures);
  carry();  // opens the epoch
  app_sql("INSERT INTO a VALUES (1)");
  carry();
  const auto messages = stream();
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(messages[0].subject, "shop.old");
  EXPECT_EQ(messages[2].subject, "shop.cdc.public.a");
}

TEST_F(Capture, CheckSaysWhatIsCarriedAndWhatIsNot) {
  app_sql("CREATE TABLE good (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)");
  capture("[[capture]]\ntables = [\"public.go*\"]\n");
  // Each line as "subject found", whatever blanks part them.
  const auto check = [&](int expected, const std::vector<std::string>& lines) {
    EXPECT_EQ(postrider({"check", "--config", config("capture")}), expected) << output();
    const auto said = std::regex_replace(output(), std::regex(" +"), " ");
    for (const auto& line : lines) EXPECT_NE(said.find(line), std::string::npos) << line << said;
  };
  check(0, {"publication postrider_capture is as `postrider migrate up` made it",
            "captured tables 1"});
  app_sql("CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE gold (a int)");
  captures_ +=
      "[[capture]]\ntables = [\"public.good\"]\n[[capture]]\ntables = [\"sales.*\", "
      "\"x.*\"]\nsubject = \"a.{key}\"\n";
  check(0, {"captured table public.gone is not published",
            "captured table public.gold has no replica identity",
            "[[capture]] of public.good matches no table",
            "[[capture]] of sales.*, x.* matches no table", "capture.subject a.{key}"});
  captures_ = "[[capture]]\ntables = [\"public.other\", \"public.none\"]\n";
  check(1, {"captured table public.other is not published",
            "captured table public.none is no table that can be captured", "captured tables 0"});
  captures_ = "[[capture]]\ntables = [\"public.go*\"]\n";
  sql("ALTER PUBLICATION postrider_capture DROP TABLE good");
  check(1, {"does not hold public.good as it did", "captured table public.good is not published"});
}

}  // namespace
}  // namespace postrider::test
