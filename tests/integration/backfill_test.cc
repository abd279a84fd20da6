// Backfills, from the command line to the stream.
#include <libpq-fe.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/support/backfill_world.h"

namespace postrider::test {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;

// The server's error; empty: none.
std::string run(const Connection& connection, const std::string& statement) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(
      PQexec(connection.get(), statement.c_str()), &PQclear);
  return PQresultStatus(result.get()) == PGRES_COMMAND_OK ? std::string()
                                                          : PQerrorMessage(connection.get());
}

class Backfill : public BackfillWorld {};

TEST_F(Backfill, RowsOfEveryKindOfKeyAreReadAsInsertsWouldBe) {
  const std::vector<std::pair<std::string, std::string>> tables = {
      {"by_int", "PRIMARY KEY (i)"},     {"by_text", "PRIMARY KEY (t)"},
      {"by_uuid", "PRIMARY KEY (u)"},    {"by_three", "PRIMARY KEY (b, t, n)"},
      {"by_mood", "PRIMARY KEY (m, i)"}, {"by_domain", "PRIMARY KEY (d)"},
      {"by_time", "PRIMARY KEY (z)"},    {"by_bytes", "PRIMARY KEY (y)"},
      {"by_citext", "PRIMARY KEY (c)"},  {"by_include", "PRIMARY KEY (i) INCLUDE (t)"},
      {"by_char", "PRIMARY KEY (f)"}};
  sql("CREATE EXTENSION IF NOT EXISTS citext");
  app_sql("CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad'); CREATE DOMAIN cents AS bigint");
  for (const auto& [table, key] : tables)
    for (const char* copy : {"", "_new"})
      app_sql(
          "CREATE TABLE " + table + copy +
          " (i int, t text, u uuid, b bool, n numeric, m mood, d cents, z timestamptz, y bytea, "
          "c citext, f char(12), j jsonb, e text DEFAULT '', x text, g int GENERATED ALWAYS AS (i "
          "* 2) "
          "STORED, " +
          key + ")");
  const std::string columns = " (i, t, u, b, n, m, d, z, y, c, f, j, x) ";
  for (const auto& [table, key] : tables)
    app_sql(
        "INSERT INTO " + table + columns +
        R"(SELECT i, format(E'%s "q" \\ (,) %s\n%s', i % 7, i, chr(200 + i)), md5(i::text)::uuid, i % 2 = 0,
               i / 7.0, (ARRAY['sad', 'ok', 'glad'])[i % 3 + 1]::mood, i, '2026-01-01'::timestamptz + i * '1 second'::interval,
               decode(md5(i::text), 'hex'), format('C%s', i), 'f' || i, jsonb_build_object('k', format('"%s"', i)), nullif('x', 'x')
               FROM generate_series(1, 700) AS i)");
  grant();
  capture("[[capture]]\ntables = [\"public.by_*\"]\n");
  const auto process = relay();
  for (const auto& [table, key] : tables) {
    ASSERT_EQ(backfill("start", "public." + table, {"--workers", "2"}), 0) << output();
    app_sql("INSERT INTO " + table + "_new" + columns +
            "SELECT i, t, u, b, n, m, d, z, y, c, f, j, x FROM " + table);
  }
  ASSERT_EQ(postrider({"backfill", "status", "--follow", "--config", config("command")}), 0)
      << output() << process->log();
  std::map<std::string, std::vector<std::string>> read;
  for (const auto& [table, key] : tables) {
    // As the WAL's own decoding wrote them.
    std::vector<std::string> inserted;
    ASSERT_TRUE(wait_for([&] { return changes(table + "_new").size() == 700; }));
    for (const auto& change : changes(table + "_new")) inserted.push_back(change["new"].dump());
    std::vector<std::string> backfilled;
    for (const auto& change : changes(table)) {
      EXPECT_EQ(change["op"], "read");
      backfilled.push_back(change["new"].dump());
    }
    std::map<std::string, std::multiset<std::string>> keys;
    for (const auto& message : stream())
      keys[message.subject].insert(*message.header("Postrider-Key"));
    EXPECT_EQ(keys["shop.cdc.public." + table], keys["shop.cdc.public." + table + "_new"]);
    std::ranges::sort(inserted);
    std::ranges::sort(backfilled);
    EXPECT_EQ(backfilled, inserted) << table;
  }
  process->terminate();
  EXPECT_EQ(process->wait(kBackfillPatience), 0);
  EXPECT_EQ(postrider({"verify", "stream", "--config", config("verify")}), 0) << output();
}

// Chunks are read with the rights of the outbox's owner.
TEST_F(Backfill, NothingThatATablesOwnerHasMadeRunsAsTheOutboxsOwner) {
  make_tables(R"(
CREATE FUNCTION spy(v int) RETURNS bool LANGUAGE plpgsql AS
  $$ BEGIN IF current_user <> 'app' THEN RAISE EXCEPTION 'runs as %', current_user; END IF; RETURN true; END $$;
CREATE DOMAIN watched AS int CHECK (spy(VALUE)); CREATE DOMAIN twice AS watched;
CREATE TYPE kind AS ENUM ('b', 'a');
CREATE FUNCTION show(kind) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN IF current_user <> 'app' THEN RAISE EXCEPTION 'runs as %', current_user; END IF; RETURN 'same'; END $$;
CREATE CAST (kind AS text) WITH FUNCTION show(kind);
CREATE TABLE t (id twice, k kind, v text, PRIMARY KEY (id, k)); INSERT INTO t SELECT i, 'b', 'v' FROM generate_series(1, 500) i)");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  const auto process = relay();
  ASSERT_EQ(backfill("start", "public.t", {"--rate", "400", "--follow"}), 0)
      << output() << process->log();
  const auto rows = changes("t");
  ASSERT_EQ(rows.size(), 500U);
  EXPECT_EQ(rows[0]["new"]["k"], "b");
}

TEST_F(Backfill, BeginsAnewOnAnotherTimeline) {
  make_tables("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 2000)");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  auto process = relay();
  ASSERT_EQ(backfill("start", "public.t", {"--rate", "400"}), 0) << output();
  ASSERT_TRUE(wait_for([&] { return changes("t").size() >= 200; }));
  process->kill();
  // As after a failover: what the relay had noted of moved rows may be gone.
  EXPECT_EQ(sql("SELECT outbox.backfill_open('shop', 1)"), "0");
  EXPECT_EQ(sql("SELECT outbox.backfill_open('shop', 2)"), "1");
  EXPECT_EQ(sql("SELECT concat(state, planned, rows_done, barrier) FROM outbox.backfill"),
            "waiting0");
  EXPECT_EQ(sql("SELECT count(*) FROM outbox.backfill_chunk"), "0");
  process = relay();
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  EXPECT_EQ(sql("SELECT rows_done FROM outbox.backfill"), "2000");
  EXPECT_GT(changes("t").size(), 2000U);
}

TEST_F(Backfill, AReplacementThatWaitsIsCancelledAtOnceAndHoldsNoRelayUp) {
  make_tables("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 2000)");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  const auto process = relay();
  const Connection early(PQconnectdb(conninfo("app").c_str()), &PQfinish);
  const Connection service(PQconnectdb(conninfo("app").c_str()), &PQfinish);
  ASSERT_EQ(run(early, "BEGIN; CREATE TEMP TABLE mine ()"), "");
  ASSERT_EQ(backfill("start", "public.t", {"--replace"}), 0) << output();
  ASSERT_TRUE(wait_for([&] { return sql("SELECT count(barrier) FROM outbox.backfill") == "1"; }));
  ASSERT_EQ(run(service, "BEGIN; INSERT INTO t VALUES (0)"), "");
  ASSERT_EQ(run(early, "ROLLBACK"), "");
  ASSERT_TRUE(
      wait_for([&] { return sql("SELECT max(attempts) > 1 FROM outbox.backfill_chunk") == "t"; }));
  EXPECT_EQ(backfill("cancel", "public.t"), 0) << output();
  EXPECT_EQ(state_of("public.t"), "cancelled");
  process->terminate();
  EXPECT_EQ(process->wait(kBackfillPatience), 0) << process->log();
  ASSERT_EQ(run(service, "COMMIT"), "");
  EXPECT_EQ(sql("SELECT count(*) FROM outbox.backfill_chunk"), "0");
  EXPECT_EQ(backfill("status", "public.nothing", {"--follow"}), 1) << "there is none to follow";
}

TEST_F(Backfill, WhatItWaitsForIsSaidAgainAfterAPause) {
  make_tables("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
  capture("[[capture]]\ntables = [\"public.t\", \"public.u\"]\n");
  captures_ = "[[capture]]\ntables = [\"public.u\"]\n";
  const auto process = relay();
  ASSERT_EQ(backfill("start", "public.t"), 0) << output();
  const auto said = [&] {
    return wait_for([&] {
      return sql("SELECT problem FROM outbox.backfill").find("does not capture the table") !=
             std::string::npos;
    });
  };
  EXPECT_TRUE(said()) << process->log();
  ASSERT_EQ(backfill("pause", "public.t"), 0) << output();
  EXPECT_EQ(sql("SELECT problem FROM outbox.backfill"), "");
  ASSERT_EQ(backfill("resume", "public.t"), 0) << output();
  EXPECT_TRUE(said()) << process->log();
}

TEST_F(Backfill, ARelayWithoutBackfillsLooksForThemSeldomAndIsToldOfThem) {
  make_tables("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  const auto process = relay();
  // When its connection last became idle.
  std::set<std::string> looks;
  const auto look = [&] {
    const auto at = sql(
        "SELECT extract(epoch FROM state_change) FROM pg_stat_activity WHERE state = 'idle' AND "
        "application_name = 'postrider backfill shop'");
    if (!at.empty()) looks.insert(at);
    return looks.size() >= 5;
  };
  ASSERT_TRUE(wait_for(look)) << process->log();
  EXPECT_GT(std::stod(*looks.rbegin()) - std::stod(*looks.begin()), 5.0);
  ASSERT_EQ(backfill("start", "public.t"), 0) << output();
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
}

TEST_F(Backfill, AFailedOneIsTriedAgainOnRequest) {
  make_tables("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 2000)");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  const auto process = relay();
  ASSERT_EQ(backfill("start", "public.t", {"--rate", "400"}), 0) << output();
  ASSERT_TRUE(wait_for([&] { return changes("t").size() >= 200; }));
  sql("REVOKE UPDATE ON t FROM owner");
  ASSERT_TRUE(wait_for_state("public.t", "failed")) << process->log();
  EXPECT_NE(sql("SELECT problem FROM outbox.backfill").find("permission denied"),
            std::string::npos);
  grant();
  ASSERT_EQ(backfill("resume", "public.t"), 0) << output();
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  EXPECT_EQ(changes("t").size(), 2000U) << "each row once";
}

TEST_F(Backfill, PartitionsFiltersAndListsOfColumnsAreThePublications) {
  make_tables(
      "CREATE TABLE part (id int, v int, secret text, PRIMARY KEY (id)) PARTITION BY RANGE (id); "
      "CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (500); "
      "CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (500) TO (2000); "
      "INSERT INTO part SELECT i, i % 10, 's' FROM generate_series(1, 1000) i; "
      "CREATE TABLE parent (id int PRIMARY KEY, v int); CREATE TABLE child () INHERITS (parent); "
      "INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (2, 2)");
  capture(
      "[[capture]]\ntables = [\"public.part\"]\nexclude = [\"secret\"]\nwhere = \"id <= 800 AND id "
      "> "
      "0\"\n"
      "[[capture]]\ntables = [\"public.parent\"]\nformat = \"debezium\"\n");
  const auto process = relay();
  ASSERT_EQ(backfill("start", "public.parent", {"--follow"}), 0) << output() << process->log();
  ASSERT_EQ(backfill("start", "public.part", {"--where", "id % 2 = 0 -- even", "--follow"}), 0)
      << output() << process->log();
  EXPECT_NE(output().find("complete  [####################] 100%  400 rows"), std::string::npos)
      << output();
  const auto rows = changes("part");
  EXPECT_EQ(rows.size(), 400U);
  for (const auto& row : rows) {
    EXPECT_LE(row["new"]["id"], 800);
    EXPECT_EQ(row["new"].size(), 2U);
    EXPECT_EQ(row["new"]["id"].get<int>() % 2, 0);
  }
  const auto parents = changes("parent");
  ASSERT_EQ(parents.size(), 1U) << "a child is a table of its own";
  EXPECT_EQ(parents[0]["op"], "r");
  EXPECT_EQ(parents[0]["source"]["snapshot"], "incremental");
  EXPECT_EQ(parents[0]["after"]["id"], 1);
}

TEST_F(Backfill, WhatCannotBeReadIsRefusedWithItsRemedy) {
  app_sql(
      "CREATE TABLE keyless (v int); ALTER TABLE keyless REPLICA IDENTITY FULL; "
      "CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE locked (id int PRIMARY KEY); "
      "CREATE TABLE hidden (id int PRIMARY KEY); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY");
  sql("GRANT SELECT, UPDATE ON keyless, other, hidden TO owner");
  capture("[[capture]]\ntables = [\"public.keyless\", \"public.locked\", \"public.hidden\"]\n");
  const auto refused = [&](const std::string& table, const std::string& what,
                           const std::vector<std::string>& more = {}) {
    EXPECT_NE(backfill("start", table, more), 0) << output();
    EXPECT_NE(output().find(what), std::string::npos) << output();
  };
  refused("public.keyless", "has no primary key to be read by in chunks");
  refused("public.other", "is no captured table");
  refused("public.nowhere", "is no captured table");
  refused("public.locked", "GRANT SELECT, UPDATE ON public.locked TO owner");
  refused("public.hidden", "row security hides rows");
  sql("GRANT SELECT, UPDATE ON locked TO owner");
  refused("public.locked", "column \"nothing\" does not exist", {"--where", "nothing > 1"});
  refused("public.locked", "the whole table", {"--where", "true", "--replace"});
  EXPECT_EQ(backfill("pause", "public.locked"), 1) << output();
  EXPECT_EQ(backfill("start", "public.locked"), 0) << output();
  refused("public.locked", "is under way");
  EXPECT_EQ(backfill("cancel", "public.locked"), 0) << output();
  EXPECT_EQ(state_of("public.locked"), "cancelled");
  EXPECT_EQ(backfill("status", "", {"--json"}), 0) << output();
  EXPECT_NE(output().find("\"state\":\"cancelled\""), std::string::npos) << output();
  // The relay's role alone may not run SQL of its choice as the owner.
  EXPECT_THROW(
      query(conninfo("relay"), "SELECT outbox.backfill_start('shop', 'public.locked', 'true')"),
      std::runtime_error);
}

TEST_F(Backfill, AWholeTableIsReplacedInOneTransaction) {
  make_tables(
      "CREATE TABLE log (v int); ALTER TABLE log REPLICA IDENTITY FULL; "
      "INSERT INTO log SELECT i / 2 FROM generate_series(0, 9999) i");
  capture("[[capture]]\ntables = [\"public.log\"]\n");
  const auto process = relay();
  ASSERT_EQ(backfill("start", "public.log", {"--replace", "--follow"}), 0)
      << output() << process->log();
  app_sql("INSERT INTO log VALUES (-1)");
  ASSERT_TRUE(wait_for_seq(10'002));
  const auto all = stream();
  ASSERT_EQ(all.size(), 10'002U);
  EXPECT_EQ(*all[0].header("Postrider-Type"), "truncate");
  std::multiset<int> rows;
  for (std::size_t i = 1; i <= 10'000; ++i) {
    const auto change = nlohmann::json::parse(all[i].data);
    EXPECT_EQ(change["op"], "read");
    rows.insert(change["new"]["v"].get<int>());
    const auto place = *all[i].header("Postrider-Position");
    EXPECT_EQ(place.ends_with(" last"), i == 10'000) << "one transaction";
  }
  EXPECT_EQ(rows.count(17), 2U);
  EXPECT_EQ(*all.back().header("Postrider-Type"), "insert");
}

// Each attempt keeps writers out while it lasts.
TEST_F(Backfill, AReplacementThatNeedsMoreThanItMayFailsAtOnce) {
  make_tables(
      "CREATE TABLE t (id int PRIMARY KEY, v text); "
      "INSERT INTO t SELECT i, repeat('v', 500) FROM generate_series(1, 20000) i");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  sql("ALTER DATABASE shop SET temp_file_limit = '64kB'");
  auto process = relay();
  ASSERT_EQ(backfill("start", "public.t", {"--replace"}), 0) << output();
  ASSERT_TRUE(wait_for_state("public.t", "failed")) << process->log();
  EXPECT_NE(sql("SELECT problem FROM outbox.backfill").find("temp_file_limit"), std::string::npos);
  EXPECT_EQ(sql("SELECT begun FROM outbox.backfill_chunk"), "1");
  process->terminate();
  EXPECT_EQ(process->wait(kBackfillPatience), 0);
  sql("ALTER DATABASE shop RESET temp_file_limit");
  process = relay();
  ASSERT_EQ(backfill("resume", "public.t"), 0) << output();
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  EXPECT_EQ(copy_of(changes("t")).size(), 20'000U);
}

TEST_F(Backfill, AReplacementThatIsCancelledEachTimeFails) {
  make_tables(
      "CREATE TABLE t (id int PRIMARY KEY, v text); "
      "INSERT INTO t SELECT i, repeat('v', 200) FROM generate_series(1, 200000) i");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  const auto process = relay();
  ASSERT_EQ(backfill("start", "public.t", {"--replace"}), 0) << output();
  EXPECT_TRUE(wait_for([&] {
    sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND query LIKE "
        "'%outbox.backfill_carry%' AND pid <> pg_backend_pid()");
    return state_of("public.t") == "failed";
  })) << process->log();
  EXPECT_NE(sql("SELECT problem FROM outbox.backfill").find("user request"), std::string::npos);
  ASSERT_EQ(backfill("resume", "public.t"), 0) << output();
  EXPECT_TRUE(wait_for_state("public.t", "complete")) << process->log();
}

TEST_F(Backfill, AReplacementThatEndsWithItsRelayEachTimeFails) {
  make_tables("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  auto process = relay("backfill.before_commit=kill@1");
  ASSERT_EQ(backfill("start", "public.t", {"--replace"}), 0) << output();
  for (int attempt = 1; attempt <= 10; ++attempt) {
    if (attempt > 1) process = relay("backfill.before_commit=kill@1");
    ASSERT_EQ(process->wait(kBackfillPatience), 128 + 9) << attempt << '\n' << process->log();
  }
  process = relay();
  ASSERT_TRUE(wait_for_state("public.t", "failed")) << process->log();
  EXPECT_NE(sql("SELECT problem FROM outbox.backfill").find("was begun 10 times"),
            std::string::npos);
  ASSERT_EQ(backfill("resume", "public.t"), 0) << output();
  EXPECT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  EXPECT_EQ(changes("t").size(), 101U) << "once";
}

TEST_F(Backfill, WaitsForTransactionsThatWroteBeforeTheTableWasPublished) {
  make_tables("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)");
  capture("");
  const Connection early(PQconnectdb(conninfo("app").c_str()), &PQfinish);
  ASSERT_EQ(run(early, "BEGIN; UPDATE t SET v = 22 WHERE id = 2; INSERT INTO t VALUES (3, 3)"), "");
  capture("[[capture]]\ntables = [\"public.t\"]\nbackfill = true\n");
  auto process = relay();
  ASSERT_TRUE(wait_for([&] {
    return sql("SELECT problem FROM outbox.backfill").find("waits for transactions older than") ==
           0;
  })) << process->log();
  EXPECT_EQ(state_of("public.t"), "waiting");
  EXPECT_TRUE(changes("t").empty());
  ASSERT_EQ(run(early, "COMMIT"), "");
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  EXPECT_EQ(copy_of(changes("t")), rows_of("t"));
  EXPECT_EQ(rows_of("t").size(), 3U);
  // Once: neither the next relay nor the next migration begins it again.
  process->terminate();
  EXPECT_EQ(process->wait(kBackfillPatience), 0);
  capture(captures_);
  sql("ALTER DATABASE shop SET track_functions = 'all'");
  process = relay();
  app_sql("INSERT INTO t VALUES (4, 4)");
  ASSERT_TRUE(wait_for([&] { return copy_of(changes("t")).size() == 4; }));
  process->terminate();
  EXPECT_EQ(process->wait(kBackfillPatience), 0);
  EXPECT_EQ(sql("SELECT count(*) FROM pg_stat_user_functions WHERE funcname = 'backfill_open'"),
            "1");
  EXPECT_EQ(sql("SELECT count(*) FROM pg_stat_user_functions WHERE funcname = 'backfill_start'"),
            "0");
  EXPECT_EQ(sql("SELECT count(*) FROM outbox.backfill"), "1");
  EXPECT_EQ(changes("t").size() <= 5, true);
}

TEST_F(Backfill, ReshapesRowsAsTheirChangesAreAndLeavesOutboxTablesAlone) {
  make_tables(
      "CREATE TABLE person (id int PRIMARY KEY, mail text, phone text); INSERT INTO person VALUES "
      "(1, "
      "'a', 'b'); CREATE TABLE box (id int PRIMARY KEY, payload text); INSERT INTO box VALUES (1, "
      "'x')");
  capture(
      "[[capture]]\ntables = [\"public.person\", \"public.b*\"]\nbackfill = true\nhash = "
      "[\"mail\"]\nmask = "
      "[\"phone\"]\n"
      "rename = { mail = \"m\" }\n"
      "[[outbox]]\ntable = \"public.box\"\nsubject = \"box\"\nkey = \"\"\ntype = \"\"\n");
  const auto process = relay();
  ASSERT_TRUE(wait_for_state("public.person", "complete")) << process->log();
  app_sql("INSERT INTO person VALUES (2, 'a', 'b'); INSERT INTO box VALUES (2, 'y')");
  ASSERT_TRUE(wait_for_seq(3, kBackfillPatience)) << process->log();
  const auto messages = stream();
  ASSERT_EQ(messages.size(), 3U);
  auto read = nlohmann::json::parse(messages[0].data)["new"];
  const auto inserted = nlohmann::json::parse(messages[1].data)["new"];
  EXPECT_EQ(read["m"], "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
  read["id"] = 2;
  EXPECT_EQ(read, inserted);
  EXPECT_EQ(messages[2].subject, "shop.box");
  EXPECT_EQ(messages[2].data, "y");
  EXPECT_EQ(sql("SELECT count(*) FROM outbox.backfill"), "1");
}

TEST_F(Backfill, PausesResumesAndKeepsToItsRate) {
  make_tables(
      "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM "
      "generate_series(1, 3000) i");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  auto process = relay();
  ASSERT_EQ(backfill("start", "public.t", {"--rate", "400"}), 0) << output();
  ASSERT_TRUE(wait_for([&] { return changes("t").size() >= 200; }));
  ASSERT_EQ(backfill("pause", "public.t"), 0) << output();
  process->kill();
  process = relay();
  app_sql("UPDATE t SET v = -1 WHERE id IN (1, 3000)");
  ASSERT_TRUE(wait_for([&] {
    const auto seen = changes("t");
    return !seen.empty() && seen.back()["op"] == "update";
  }));
  EXPECT_EQ(state_of("public.t"), "paused");
  EXPECT_LT(changes("t").size(), 1500U);
  EXPECT_EQ(backfill("status", ""), 0);
  EXPECT_NE(output().find("public.t  paused  ["), std::string::npos) << output();
  ASSERT_EQ(backfill("resume", "public.t"), 0) << output();
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  EXPECT_EQ(sql("SELECT rows_done FROM outbox.backfill"), "3000");
  EXPECT_EQ(sql("SELECT extract(epoch FROM ended_at - admitted_at) > 5 FROM outbox.backfill"), "t")
      << "3000 rows at 400 a second";
  EXPECT_EQ(copy_of(changes("t")), rows_of("t"));
}

TEST_F(Backfill, AKilledRelayLosesAndDoublesNothing) {
  make_tables(
      "CREATE TABLE t (id int PRIMARY KEY, v text); "
      "INSERT INTO t SELECT i, repeat('v', i % 100) FROM generate_series(1, 20000) i");
  capture("[[capture]]\ntables = [\"public.t\"]\nbackfill = true\n");
  for (const char* point : {"backfill.before_commit=kill@2", "backfill.after_commit=kill@3",
                            "publish.mid_transaction=kill@700", "ack.after_handle=kill@2000",
                            "backfill.before_complete=kill@1"}) {
    const auto process = relay(point);
    ASSERT_EQ(process->wait(kBackfillPatience), 128 + 9) << point << '\n' << process->log();
  }
  const auto process = relay();
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  ASSERT_TRUE(wait_for_seq(20'000));
  const auto all = changes("t");
  EXPECT_EQ(all.size(), 20'000U) << "each row once";
  EXPECT_EQ(copy_of(all), rows_of("t"));
  EXPECT_EQ(sql("SELECT rows_done FROM outbox.backfill"), "20000");
  EXPECT_EQ(sql("SELECT count(*) FROM outbox.backfill_chunk"), "0");
}

TEST_F(Backfill, AServiceThatLocksInAnotherOrderIsNeverTheVictim) {
  make_tables(
      "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, 0 FROM "
      "generate_series(1, 1000) i");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  const auto process = relay();
  const Connection early(PQconnectdb(conninfo("app").c_str()), &PQfinish);
  const Connection service(PQconnectdb(conninfo("app").c_str()), &PQfinish);
  for (int round = 0; round < 3; ++round) {
    // Older than the order: the backfill begins when it ends, and the service is at work by then.
    ASSERT_EQ(run(early, "BEGIN; CREATE TEMP TABLE mine ()"), "");
    ASSERT_EQ(backfill("start", "public.t"), 0) << output();
    ASSERT_TRUE(wait_for([&] {
      return sql("SELECT count(barrier) FROM outbox.backfill WHERE state = 'waiting'") == "1";
    }));
    ASSERT_EQ(run(service, "BEGIN; UPDATE t SET v = v + 1 WHERE id = 150"), "");
    ASSERT_EQ(run(early, "ROLLBACK"), "");
    // The chunk has locked the rows before 150, and waits for that one.
    ASSERT_TRUE(wait_for([&] {
      return sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "1";
    }));
    EXPECT_EQ(run(service, "UPDATE t SET v = v + 1 WHERE id <= 149"), "");
    EXPECT_EQ(run(service, "COMMIT"), "");
    ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  }
  EXPECT_EQ(sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "0");
  EXPECT_EQ(copy_of(changes("t")), rows_of("t"));
}

TEST_F(Backfill, ARowThatIsLockedForLongHoldsUpItsChunkAlone) {
  make_tables(
      "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, 0 FROM "
      "generate_series(1, 50) i");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  carry();
  ASSERT_EQ(sql("SELECT outbox.backfill_start('shop', 'public.t')"), "1");
  ASSERT_EQ(sql("SELECT outbox.backfill_admit(1, 1)"), "t");
  const Connection service(PQconnectdb(conninfo("app").c_str()), &PQfinish);
  ASSERT_EQ(run(service, "BEGIN; UPDATE t SET v = 1 WHERE id = 20"), "");
  sql("ALTER DATABASE shop SET track_functions = 'all'");
  const auto process = relay();
  ASSERT_TRUE(wait_for([&] { return changes("t").size() == 49; })) << process->log();
  const std::string tries =
      "SELECT coalesce(max(attempts), 0) FROM outbox.backfill_chunk WHERE rows IS NULL";
  ASSERT_TRUE(wait_for([&] { return std::stoi(sql(tries)) >= 7; })) << process->log();
  EXPECT_LT(std::stoi(sql("SELECT calls FROM pg_stat_user_functions WHERE funcname = "
                          "'backfill_claim'")),
            100)
      << "it is put off for seconds by then, and not asked for meanwhile";
  EXPECT_EQ(state_of("public.t"), "running");
  ASSERT_EQ(run(service, "COMMIT"), "");
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  EXPECT_EQ(copy_of(changes("t")), rows_of("t"));
}

TEST_F(Backfill, RowsThatOneTransactionMovedAreNotedTogether) {
  make_tables(
      "CREATE TABLE t (id int PRIMARY KEY, big text); ALTER TABLE t ALTER big SET STORAGE "
      "EXTERNAL; INSERT INTO t SELECT i, repeat('x', 2100) FROM generate_series(1, 1100) i");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  carry();
  sql("ALTER DATABASE shop SET track_functions = 'all'");
  ASSERT_EQ(backfill("start", "public.t"), 0) << output();
  ASSERT_EQ(backfill("pause", "public.t"), 0) << output();
  app_sql("UPDATE t SET id = id + 10000");
  carry();
  EXPECT_EQ(changes("t").size(), 1100U);
  EXPECT_EQ(sql("SELECT count(DISTINCT upper) FROM outbox.backfill_chunk WHERE one_key"), "1100");
  EXPECT_EQ(sql("SELECT calls FROM pg_stat_user_functions WHERE funcname = 'backfill_moved'"), "2");
}

TEST_F(Backfill, OneWhoseMovedRowsCannotBeNotedIsCancelledAndHoldsUpNoEvent) {
  make_tables(
      "CREATE TABLE t (id int PRIMARY KEY, big text); ALTER TABLE t ALTER big SET STORAGE "
      "EXTERNAL; INSERT INTO t SELECT i, repeat('x', 2100) FROM generate_series(1, 10) i");
  capture("[[capture]]\ntables = [\"public.t\"]\n");
  carry();
  ASSERT_EQ(backfill("start", "public.t"), 0) << output();
  ASSERT_EQ(backfill("pause", "public.t"), 0) << output();
  sql("ALTER TABLE outbox.backfill_chunk ADD CHECK (upper[1] <> '1007')");
  app_sql("UPDATE t SET id = id + 1000");
  const auto process = relay();
  EXPECT_TRUE(wait_for_seq(10)) << process->log();
  EXPECT_EQ(state_of("public.t"), "cancelled");
  EXPECT_NE(
      sql("SELECT problem FROM outbox.backfill").find("rows that changed keys cannot be noted"),
      std::string::npos);
}

TEST_F(Backfill, ADroppedTableEndsItsOwnBackfillAlone) {
  make_tables(
      "CREATE TABLE gone (id int PRIMARY KEY); INSERT INTO gone SELECT generate_series(1, 3000); "
      "CREATE TABLE stays (id int PRIMARY KEY); INSERT INTO stays SELECT generate_series(1, 10)");
  capture("[[capture]]\ntables = [\"public.gone\", \"public.stays\"]\n");
  const auto process = relay();
  ASSERT_EQ(backfill("start", "public.gone", {"--rate", "200"}), 0) << output();
  ASSERT_TRUE(wait_for([&] { return !changes("gone").empty(); }));
  app_sql("DROP TABLE gone");
  ASSERT_TRUE(wait_for([&] { return state_of("public.gone") == "failed"; }));
  EXPECT_NE(sql("SELECT problem FROM outbox.backfill").find("dropped"), std::string::npos);
  EXPECT_EQ(backfill("start", "public.stays", {"--follow"}), 0) << output() << process->log();
  EXPECT_EQ(changes("stays").size(), 10U);
}

}  // namespace
}  // namespace postrider::test
