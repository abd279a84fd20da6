// Changes raced against a backfill's chunks: what a reader makes of the stream is the table, in
// every round; and is not, when the rules that make it so are broken.
//
// A round drives the chunks of one table itself, three rows each, step by step between the changes
// of a service's open transaction; the seed says which. The relay, started afterwards, tells of
// keys that moved and carries the rest.
#include <libpq-fe.h>

#include <future>
#include <memory>
#include <random>
#include <string>

#include "tests/support/backfill_world.h"

namespace postrider::test {
namespace {

constexpr int kRounds = 40;
constexpr int kBrokenRounds = 30;
constexpr int kSteps = 60;

class Connection {
 public:
  explicit Connection(const std::string& conninfo)
      : connection_(PQconnectdb(conninfo.c_str()), &PQfinish) {
    run("SET synchronous_commit = off");  // nothing here crashes, and rounds are many
  }
  // The first column of the first row; with a '!' before it, the SQLSTATE of an error.
  std::string run(const std::string& statement) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(
        PQexec(connection_.get(), statement.c_str()), &PQclear);
    if (const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE))
      return std::string("!") + state;
    return PQntuples(result.get()) > 0 && PQnfields(result.get()) > 0
               ? PQgetvalue(result.get(), 0, 0)
               : "";
  }
  [[nodiscard]] int pid() const { return PQbackendPID(connection_.get()); }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

class BackfillRace : public BackfillWorld {
 protected:
  void make_table(int round) {
    const std::string table = "race" + std::to_string(round);
    app_sql("CREATE TABLE " + table + " (id int PRIMARY KEY, v int, big text); ALTER TABLE " +
            table + " ALTER big SET STORAGE EXTERNAL; INSERT INTO " + table +
            " SELECT i, 0, repeat(chr(97 + i % 26), 3000) FROM generate_series(1, 60, 2) i");
  }

  // Changes of a service, in its open transaction: half of them where chunks are at work.
  static std::string change(std::minstd_rand& random, const std::string& table, unsigned at) {
    const auto id = [&] {
      return std::to_string((random() % 2 == 0 ? at + random() % 7 : random()) % 60 + 1);
    };
    const std::string v = std::to_string(random() % 100'000);
    switch (random() % 12) {
      case 0:
      case 1:
        return "UPDATE " + table + " SET v = " + v + " WHERE id = " + id();
      case 2:
        return "UPDATE " + table + " SET big = repeat('" + v + "', 600) WHERE id = " + id();
      case 3:
        return "DELETE FROM " + table + " WHERE id = " + id();
      case 4:
      case 5:
        return "INSERT INTO " + table + " VALUES (" + id() + ", " + v + ", repeat('" + v +
               "', 700)) ON CONFLICT DO NOTHING";
      case 6: {  // deleted and there again
        const std::string same = id();
        return "WITH gone AS (DELETE FROM " + table + " WHERE id = " + same +
               " RETURNING 1) SELECT; INSERT INTO " + table + " SELECT " + same + ", " + v +
               ", 'again' WHERE NOT EXISTS (SELECT FROM " + table + " WHERE id = " + same + ")";
      }
      case 7:
        if (random() % 8 == 0) return "TRUNCATE " + table;
        [[fallthrough]];
      default: {  // another key, near or far, with the large value untouched
        const std::string to = id();
        return "UPDATE " + table + " SET id = " + to + ", v = " + v + " WHERE id = " + id() +
               " AND NOT EXISTS (SELECT FROM " + table + " WHERE id = " + to + ")";
      }
    }
  }

  // Begun and carried as far as its steps go.
  void race(int round, unsigned seed) {
    const std::string table = "race" + std::to_string(round);
    std::minstd_rand random(seed);
    Connection service(conninfo("app"));
    Connection worker(superuser());
    Connection observer(superuser());
    unsigned at = 0;  // the lowest key of the newest chunk
    const std::string id =
        worker.run("SELECT outbox.backfill_start('shop', 'public." + table + "')");
    ASSERT_EQ(worker.run("SELECT outbox.backfill_admit(" + id + ", 1)"), "t");
    worker.run("SET lock_timeout = '50ms'");  // a truncation that is open is passed by
    bool open = false;
    const auto close = [&] {
      if (open) service.run(random() % 5 == 0 ? "ROLLBACK" : "COMMIT");
      open = false;
    };
    for (int step = 0; step < kSteps; ++step) {
      if (random() % 3 != 0) {
        if (!open) service.run("BEGIN");
        open = true;
        service.run("SAVEPOINT s; " + change(random, table, at));
        if (random() % 3 == 0) close();
        continue;
      }
      worker.run("BEGIN; SET LOCAL lock_timeout = '10s'");
      const std::string chunk = worker.run("SELECT chunk FROM outbox.backfill_claim(" + id + ")");
      if (chunk.empty()) {
        worker.run("COMMIT");
        worker.run("SELECT outbox.backfill_plan(" + id + ", 3)");
        const auto lower = worker.run(
            "SELECT max(lower[1]::int) FROM outbox.backfill_chunk WHERE backfill = " + id);
        at = lower.empty() ? 0 : static_cast<unsigned>(std::stoul(lower));
        continue;
      }
      auto carried = std::async(std::launch::async, [&] {
        return worker.run("SELECT rows FROM outbox.backfill_carry(" + id + ", " + chunk + ")");
      });
      // It has ended, or waits for the service's transaction.
      const std::string blocked =
          "SELECT cardinality(pg_blocking_pids(" + std::to_string(worker.pid()) + ")) > 0";
      const auto deadline = std::chrono::steady_clock::now() + kBackfillPatience;
      while (carried.wait_for(std::chrono::milliseconds(2)) != std::future_status::ready) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline);
        if (observer.run(blocked) == "t") close();
      }
      ASSERT_NE(carried.get().substr(0, 1), "!");
      // The service goes on before the chunk commits: it waits for the rows that the chunk has.
      if (random() % 3 == 0) {
        const std::string next = "SAVEPOINT s; " + change(random, table, at);
        service.run(open ? "SELECT" : "BEGIN");
        open = true;
        service.run("SET LOCAL lock_timeout = '30ms'");
        if (service.run(next).starts_with("!")) service.run("ROLLBACK TO s");
        if (random() % 2 == 0) close();
      }
      worker.run("COMMIT");
    }
    close();
  }

  // Rounds whose reader ends with another table than the source's.
  int failing_rounds(unsigned seed, int rounds) {
    for (int round = 0; round < rounds; ++round) make_table(round);
    grant();
    capture("[[capture]]\ntables = [\"public.race*\"]\n");
    carry();  // opens the epoch
    for (int round = 0; round < rounds; ++round) {
      race(round, seed + static_cast<unsigned>(round));
      if (HasFatalFailure()) return -1;
    }
    const auto process = relay();
    EXPECT_TRUE(wait_for([&] {
      return sql("SELECT count(*) FROM outbox.backfill WHERE state <> 'complete'") == "0";
    })) << process->log();
    process->terminate();
    EXPECT_EQ(process->wait(kBackfillPatience), 0) << process->log();
    carry();
    int failing = 0;
    for (int round = 0; round < rounds; ++round) {
      const std::string table = "race" + std::to_string(round);
      const auto copy = copy_of(changes(table));
      if (copy == rows_of(table)) continue;
      ++failing;
      last_failure_ = "round " + std::to_string(round) + ", seed " +
                      std::to_string(seed + static_cast<unsigned>(round)) + ": " +
                      difference(copy, rows_of(table));
    }
    return failing;
  }
  static std::string difference(const Rows& copy, const Rows& table) {
    std::string text;
    for (const auto& [id, row] : table)
      if (const auto found = copy.find(id); found == copy.end())
        text += " missing " + std::to_string(id);
      else if (found->second != row)
        text += " different " + std::to_string(id);
    for (const auto& [id, row] : copy)
      if (!table.contains(id)) text += " surplus " + std::to_string(id);
    return text;
  }
  // Replaces text in the definition of a function, which must hold it; of several the longest.
  void break_function(const std::string& function, const std::string& from, const std::string& to) {
    const std::string statement =
        "DO $do$ DECLARE d text := (SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = '" +
        function +
        "' AND pronamespace = 'outbox'::regnamespace ORDER BY pronargs DESC LIMIT 1); "
        "BEGIN IF position($a$" +
        from + "$a$ IN d) = 0 THEN RAISE 'nothing to break'; END IF; EXECUTE replace(d, $a$" +
        from + "$a$, $b$" + to + "$b$); END $do$";
    sql(statement);
  }

  std::string last_failure_;
};

TEST_F(BackfillRace, AReaderEndsWithTheTable) {
  EXPECT_EQ(failing_rounds(20261125, kRounds), 0) << last_failure_;
}

TEST_F(BackfillRace, WithoutRowLocksItDoesNot) {
  break_function("backfill_carry", "FOR SHARE OF t", "");
  EXPECT_GT(failing_rounds(20261125, kBrokenRounds), 0);
}

TEST_F(BackfillRace, WhereTheNextChunkBeginsAtTheLargestKeyReturnedItDoesNot) {
  break_function("backfill_carry",
                 "outbox.backfill_bound(v_pieces.keys, '<=', v_pieces.casts, v_chunk.upper)",
                 "NULL");
  break_function("backfill_carry", "ORDER BY %s FOR SHARE OF t",
                 "ORDER BY %s LIMIT 3 FOR SHARE OF t");
  break_function("backfill_carry", "max(lsn) FROM sent",
                 "(SELECT max(split_part(ltrim(record, '('), ',', 1)::int) FROM locked) FROM sent");
  break_function("backfill_carry", "INTO rows, bytes USING", "INTO rows, bytes, v_where USING");
  break_function("backfill_carry", "UPDATE outbox.backfill_chunk c SET rows",
                 "UPDATE outbox.backfill SET planned = ARRAY[v_where], planned_all = v_where IS "
                 "NULL WHERE id = p_backfill; "
                 "UPDATE outbox.backfill_chunk c SET rows");
  EXPECT_GT(failing_rounds(20261125, kBrokenRounds), 0);
}

TEST_F(BackfillRace, WhereMovedKeysAreNotCarriedAgainItDoesNot) {
  break_function("backfill_moved", "WHERE NOT EXISTS (SELECT FROM put_off p WHERE p.upper = t.key)",
                 "WHERE false");
  EXPECT_GT(failing_rounds(20261125, kBrokenRounds), 0);
}

// Two tables change names while a chunk waits for its lock.
TEST_F(BackfillRace, ATableThatIsRenamedUnderAChunkIsReadAsItself) {
  app_sql(
      "CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'a'); "
      "CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b VALUES (1, 'b')");
  grant();
  capture("[[capture]]\ntables = [\"public.a*\"]\n");
  carry();
  Connection service(conninfo("app"));
  Connection worker(superuser());
  Connection observer(superuser());
  const std::string id = worker.run("SELECT outbox.backfill_start('shop', 'public.a')");
  ASSERT_EQ(worker.run("SELECT outbox.backfill_admit(" + id + ", 1)"), "t");
  ASSERT_EQ(worker.run("SELECT outbox.backfill_plan(" + id + ", 10)"), "t");
  ASSERT_EQ(service.run("BEGIN; ALTER TABLE a RENAME TO a_old; ALTER TABLE b RENAME TO a"), "");
  worker.run("BEGIN; SET LOCAL lock_timeout = '10s'");
  ASSERT_EQ(worker.run("SELECT chunk FROM outbox.backfill_claim(" + id + ")"), "1");
  auto carried = std::async(std::launch::async, [&] {
    return worker.run("SELECT rows FROM outbox.backfill_carry(" + id + ", 1)");
  });
  const std::string blocked =
      "SELECT cardinality(pg_blocking_pids(" + std::to_string(worker.pid()) + ")) > 0";
  ASSERT_TRUE(wait_for([&] { return observer.run(blocked) == "t"; }));
  ASSERT_EQ(service.run("COMMIT"), "");
  EXPECT_EQ(carried.get(), "!40001") << "to be tried again";
  worker.run("ROLLBACK");
  const auto process = relay();
  ASSERT_TRUE(wait_for([&] { return sql("SELECT state FROM outbox.backfill") == "complete"; }))
      << process->log();
  ASSERT_EQ(changes("a_old").size(), 1U);
  EXPECT_EQ(changes("a_old")[0]["new"]["v"], "a");
  EXPECT_TRUE(changes("a").empty());
}

}  // namespace
}  // namespace postrider::test
