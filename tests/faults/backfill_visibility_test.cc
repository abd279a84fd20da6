// A commit is in the WAL, and so with the relay, before other sessions see it: for as long as its
// COMMIT waits for a synchronous standby. What a backfill does with a row that such a commit has
// taken to another key.
#include <libpq-fe.h>

#include <future>
#include <memory>
#include <string>

#include "tests/support/backfill_world.h"
#include "tests/support/standby.h"

namespace postrider::test {
namespace {

class Session {
 public:
  explicit Session(const std::string& conninfo)
      : connection_(PQconnectdb(conninfo.c_str()), &PQfinish) {}
  // The first column of the first row; with a '!' before it, the server's error.
  std::string run(const std::string& statement) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(
        PQexec(connection_.get(), statement.c_str()), &PQclear);
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      return std::string("!") + PQerrorMessage(connection_.get());
    return PQntuples(result.get()) > 0 && PQnfields(result.get()) > 0
               ? PQgetvalue(result.get(), 0, 0)
               : "";
  }
  [[nodiscard]] std::string pid() const { return std::to_string(PQbackendPID(connection_.get())); }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

class BackfillVisibility : public BackfillWorld {
 protected:
  void make_captured_table() {
    make_tables(
        "CREATE TABLE t (id int PRIMARY KEY, v int, big text); "
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL; "
        "INSERT INTO t SELECT i, 0, repeat('x', 3000) FROM generate_series(1, 9) i");
    capture("[[capture]]\ntables = [\"public.t\"]\n");
    carry();  // opens the epoch
  }
  // An order that is under way, with no chunk.
  std::string begun(Session& worker) {
    const std::string id = worker.run("SELECT outbox.backfill_start('shop', 'public.t')");
    EXPECT_EQ(worker.run("SELECT outbox.backfill_admit(" + id + ", 1)"), "t");
    return id;
  }
  // As the relay does when the WAL has told it; xids are 32 bits there.
  static std::string tell(Session& relay, const std::string& xid, const std::string& key) {
    return relay.run("SELECT outbox.backfill_moved('shop', 't'::regclass, '[{\"id\": \"" + key +
                     "\"}]', " + xid + " & 4294967295)");
  }
  static std::string begin(Session& session) {
    session.run("BEGIN");
    return session.run("SELECT pg_current_xact_id()");
  }
  static std::string claim(Session& worker, const std::string& id) {
    return worker.run("SELECT chunk FROM outbox.backfill_claim(" + id + ")");
  }
};

// The standby has all of the WAL and replays none of it: a commit under remote_apply waits, those
// of the relay do not.
TEST_F(BackfillVisibility, AMoveThatWaitsForAStandbyLosesNoRow) {
  make_captured_table();
  Standby standby(postgres_, folder_ / "standby", "shop");
  sql("ALTER SYSTEM SET synchronous_standby_names = 'walreceiver'");
  sql("SELECT pg_reload_conf()");
  ASSERT_TRUE(wait_for([&] {
    return sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1";
  }));
  Session worker(superuser());
  Session service(conninfo("app"));
  Session mover(conninfo("app"));
  const std::string id = begun(worker);
  ASSERT_EQ(worker.run("SELECT outbox.backfill_plan(" + id + ", 5)"), "t");
  ASSERT_EQ(worker.run("SELECT outbox.backfill_plan(" + id + ", 5)"), "t");
  // Holds up the chunk of the old key; the new one belongs to the next.
  ASSERT_EQ(service.run("BEGIN; UPDATE t SET v = 1 WHERE id = 1"), "");
  query(standby.server().conninfo("postgres", "shop"), "SELECT pg_wal_replay_pause()");
  ASSERT_EQ(mover.run("SET synchronous_commit = remote_apply"), "");
  auto moved = std::async(std::launch::async,
                          [&] { return mover.run("UPDATE t SET id = 1000 WHERE id = 3"); });
  ASSERT_TRUE(wait_for([&] {
    return sql("SELECT wait_event FROM pg_stat_activity WHERE pid = " + mover.pid()) == "SyncRep";
  }));
  const auto process = relay();
  EXPECT_TRUE(wait_for([&] {
    return sql("SELECT count(*) FROM outbox.backfill_chunk WHERE one_key") == "1";
  })) << process->log();
  // The later chunk has been carried without it, and every other one been tried.
  EXPECT_TRUE(wait_for([&] {
    return sql("SELECT count(*) FROM outbox.backfill_chunk WHERE rows = 4") == "1" &&
           sql("SELECT coalesce(max(attempts), 0) >= 3 FROM outbox.backfill_chunk") == "t";
  })) << process->log();
  query(standby.server().conninfo("postgres", "shop"), "SELECT pg_wal_replay_resume()");
  EXPECT_EQ(moved.get(), "");
  EXPECT_EQ(service.run("COMMIT"), "");
  ASSERT_TRUE(wait_for_state("public.t", "complete")) << process->log();
  EXPECT_EQ(copy_of(changes("t")), rows_of("t"));
}

TEST_F(BackfillVisibility, AMovedRowIsReadWhenItsMoveIsSeen) {
  make_captured_table();
  Session worker(superuser());
  Session relay(conninfo("relay"));
  Session mover(superuser());
  const auto id = begun(worker);
  ASSERT_EQ(tell(relay, begin(mover), "3"), "t");
  EXPECT_EQ(claim(worker, id), "");
  ASSERT_EQ(mover.run("COMMIT"), "");
  EXPECT_EQ(claim(worker, id), "1");
}

TEST_F(BackfillVisibility, AMoveToAKeyThatIsBeingCarriedIsCarriedToo) {
  make_captured_table();
  Session worker(superuser());
  Session relay(conninfo("relay"));
  Session mover(superuser());
  const auto id = begun(worker);
  const auto first = begin(mover);
  mover.run("COMMIT");
  ASSERT_EQ(tell(relay, first, "3"), "t");
  ASSERT_EQ(worker.run("BEGIN"), "");
  ASSERT_EQ(claim(worker, id), "1");
  ASSERT_EQ(worker.run("SELECT rows FROM outbox.backfill_carry(" + id + ", 1)"), "1");
  ASSERT_EQ(tell(relay, begin(mover), "3"), "t") << "and it waits for no lock";
  ASSERT_EQ(worker.run("COMMIT"), "");
  EXPECT_EQ(claim(worker, id), "");
  ASSERT_EQ(mover.run("COMMIT"), "");
  EXPECT_EQ(claim(worker, id), "2");
}

// Transactions do not commit in the order in which they began.
TEST_F(BackfillVisibility, APendingKeyWaitsForTheMoveThatWasToldLast) {
  make_captured_table();
  Session worker(superuser());
  Session relay(conninfo("relay"));
  Session mover(superuser());
  Session sooner(superuser());
  const auto id = begun(worker);
  const auto older = begin(mover);
  const auto newer = begin(sooner);
  sooner.run("COMMIT");
  ASSERT_EQ(tell(relay, newer, "3"), "t");
  ASSERT_EQ(tell(relay, older, "3"), "t");
  EXPECT_EQ(claim(worker, id), "");
  EXPECT_EQ(worker.run("SELECT count(*) FROM outbox.backfill_chunk"), "1");
  ASSERT_EQ(mover.run("COMMIT"), "");
  EXPECT_EQ(claim(worker, id), "1");
}

// Else the relay would note no more moves, and the order is seen a moment later.
TEST_F(BackfillVisibility, AnOrderThatIsNotSeenYetIsListenedFor) {
  make_captured_table();
  Session relay(conninfo("relay"));
  Session operators(superuser());
  operators.run("BEGIN");
  ASSERT_EQ(operators.run("SELECT outbox.backfill_start('shop', 'public.t')"), "1");
  EXPECT_EQ(tell(relay, "1000", "3"), "t");
  operators.run("ROLLBACK");
  EXPECT_EQ(tell(relay, "1000", "3"), "f");
}

// The newest transaction of all is above every snapshot's upper end until it has ended.
TEST_F(BackfillVisibility, BeginsBehindATransactionNewerThanAllThatHaveEnded) {
  make_captured_table();
  Session worker(superuser());
  Session writer(superuser());
  const std::string id = worker.run("SELECT outbox.backfill_start('shop', 'public.t')");
  begin(writer);
  EXPECT_EQ(worker.run("SELECT outbox.backfill_admit(" + id + ", 1)"), "f");
  ASSERT_EQ(writer.run("COMMIT"), "");
  EXPECT_EQ(worker.run("SELECT outbox.backfill_admit(" + id + ", 1)"), "t");
}

// What is waited for keeps dead rows from being removed: each write would stay.
TEST_F(BackfillVisibility, WaitingForAnOldTransactionWritesNothingAgain) {
  make_captured_table();
  Session worker(superuser());
  Session older(superuser());
  Session newer(superuser());
  const auto xid = begin(older);
  const std::string id = worker.run("SELECT outbox.backfill_start('shop', 'public.t')");
  const std::string admit = "SELECT outbox.backfill_admit(" + id + ", 1)";
  ASSERT_EQ(worker.run(admit), "f");
  const auto version = [&] { return worker.run("SELECT ctid FROM outbox.backfill"); };
  const auto first = version();
  begin(newer);
  ASSERT_EQ(worker.run(admit), "f");
  EXPECT_EQ(version(), first);
  EXPECT_TRUE(
      worker.run("SELECT problem FROM outbox.backfill").ends_with(": backends " + older.pid()))
      << "those that are waited for, and no others: "
      << worker.run("SELECT problem FROM outbox.backfill");
  older.run("COMMIT");
  EXPECT_EQ(worker.run(admit), "t");
}

}  // namespace
}  // namespace postrider::test
