// postrider.wait_for(): rows written by hand stand for an applier.
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <chrono>
#include <future>
#include <sstream>
#include <string>

#include "service_database.h"

namespace postrider::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class WaitFor : public ::testing::Test {
 protected:
  WaitFor() {
    std::ostringstream out;
    migrate_target_up(database.options().owner_conninfo, out);
  }

  std::string owner(const std::string& statement) { return database.run("owner", statement); }
  void add(const std::string& readmodel, const std::string& source = "shop") {
    owner("INSERT INTO postrider.cursor (readmodel, source, stream) VALUES ('" + readmodel +
          "', '" + source + "', upper('" + source + "'))");
  }
  void applied(const std::string& readmodel, int timeline, const std::string& lsn) {
    owner("UPDATE postrider.cursor SET timeline = " + std::to_string(timeline) + ", lsn = '" + lsn +
          "' WHERE readmodel = '" + readmodel + "'");
  }
  void covered(const std::string& readmodel, const std::string& system, int timeline,
               const std::string& lsn) {
    owner("INSERT INTO postrider.coverage (readmodel, system_id, timeline, lsn) VALUES ('" +
          readmodel + "', '" + system + "', " + std::to_string(timeline) + ", '" + lsn +
          "') ON CONFLICT (readmodel) DO UPDATE SET system_id = excluded.system_id, timeline = "
          "excluded.timeline, lsn = excluded.lsn");
  }
  static std::string call(const std::string& token, const std::string& more = ", '0'") {
    return "SELECT postrider.wait_for('" + token + "'" + more + ")";
  }
  // Without waiting: "t" or "f".
  std::string now(const std::string& token, const std::string& more = ", '0'") {
    return database.run("reader", call(token, more));
  }
  void expect_denied(const std::string& user, const std::string& statement) {
    const auto refusal = database.refusal(user, statement);
    ASSERT_TRUE(refusal) << statement;
    EXPECT_EQ(refusal->sqlstate, "42501") << *refusal;
  }
  void expect_refused(const std::string& statement, const std::string& sqlstate) {
    const std::string user = "reader";
    SCOPED_TRACE(statement);
    const auto refusal = database.refusal(user, statement);
    ASSERT_TRUE(refusal) << "it was accepted";
    EXPECT_EQ(refusal->sqlstate, sqlstate) << *refusal;
    EXPECT_FALSE(refusal->hint.empty()) << *refusal;
    EXPECT_NE(refusal->message.find("postrider: "), std::string::npos) << *refusal;
  }

  ServiceDatabase database{ServiceDatabase::Migrated::kNo};
};

TEST_F(WaitFor, IsTrueOnceTheAnnouncedPlaceReachesTheToken) {
  add("orders");
  covered("orders", "7", 1, "0/200");
  EXPECT_EQ(now("7:1:0/1FF"), "t");
  EXPECT_EQ(now("7:1:0/200"), "t");
  EXPECT_EQ(now("7:1:0/201"), "f");
}

TEST_F(WaitFor, IsTrueOnceALaterCommitIsApplied) {
  add("orders");
  covered("orders", "7", 1, "0/200");
  applied("orders", 1, "0/300");
  EXPECT_EQ(now("7:1:0/300"), "t");
  EXPECT_EQ(now("7:1:0/301"), "f");
}

TEST_F(WaitFor, ALaterTimelineCountsAndAnEarlierDoesNot) {
  add("orders");
  covered("orders", "7", 2, "0/200");
  EXPECT_EQ(now("7:1:0/200"), "t");
  EXPECT_EQ(now("7:1:0/201"), "f");
  EXPECT_EQ(now("7:3:0/100"), "f");
  applied("orders", 2, "0/300");
  EXPECT_EQ(now("7:1:0/300"), "t");
  EXPECT_EQ(now("7:3:0/100"), "f");
}

TEST_F(WaitFor, LsnsAreNumbersAndNotText) {
  add("orders");
  covered("orders", "7", 1, "A/0");
  EXPECT_EQ(now("7:1:9/FFFFFFFF"), "t");
  EXPECT_EQ(now("7:1:10/0"), "f");
}

TEST_F(WaitFor, WaitsForEveryReadModelOfTheSystemOrForTheNamedOne) {
  add("orders");
  add("totals");
  add("prices", "catalogue");
  covered("orders", "7", 1, "0/200");
  covered("totals", "7", 1, "0/100");
  covered("prices", "8", 1, "0/1");
  EXPECT_EQ(now("7:1:0/100"), "t");
  EXPECT_EQ(now("7:1:0/200"), "f");
  EXPECT_EQ(now("7:1:0/200", ", '0', 'orders'"), "t");
  EXPECT_EQ(now("7:1:0/200", ", '0', readmodel => 'totals'"), "f");
}

TEST_F(WaitFor, IgnoresAReadModelThatIsBeingRebuilt) {
  add("orders");
  add("orders/rebuild");
  covered("orders", "7", 1, "0/200");
  covered("orders/rebuild", "7", 1, "0/1");
  EXPECT_EQ(now("7:1:0/200"), "t");
  expect_refused(call("7:1:0/1", ", '0', 'orders/rebuild'"), "42704");
}

TEST_F(WaitFor, OneThatHasHeardNothingIsWaitedForWhereItMayBeOfTheSystem) {
  add("orders");
  covered("orders", "7", 1, "0/200");
  add("fresh");
  EXPECT_EQ(now("7:1:0/100"), "f");
  applied("fresh", 1, "0/150");  // its source is orders', so its system is known
  EXPECT_EQ(now("7:1:0/100"), "t");
  add("strange", "elsewhere");
  EXPECT_EQ(now("7:1:0/100"), "f");
  EXPECT_EQ(now("7:1:0/100", ", '0', 'orders'"), "t");
  covered("strange", "8", 1, "0/1");
  EXPECT_EQ(now("7:1:0/100"), "t");
}

TEST_F(WaitFor, SeesWhatIsCommittedWhileItWaits) {
  add("orders");
  covered("orders", "7", 1, "0/100");
  pqxx::connection reader(database.conninfo("reader"));
  for (const bool in_transaction : {false, true}) {
    covered("orders", "7", 1, "0/100");
    const auto begin = steady_clock::now();
    auto answer = std::async(std::launch::async, [&] {
      const auto wait = call("7:1:0/200", ", '30 seconds'");
      if (!in_transaction) return pqxx::nontransaction(reader).exec(wait)[0][0].as<bool>();
      pqxx::work tx(reader);
      tx.exec("SELECT count(*) FROM postrider.cursor");
      return tx.exec(wait)[0][0].as<bool>();
    });
    // It is asleep between two looks; only a superuser is told.
    const auto asleep = [&] {
      return database.run("postgres",
                          "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND "
                          "usename = 'reader'") == "1";
    };
    while (!asleep() && steady_clock::now() - begin < milliseconds{20'000}) {
    }
    covered("orders", "7", 1, "0/200");
    EXPECT_TRUE(answer.get());
    EXPECT_LT(steady_clock::now() - begin, milliseconds{25'000});
  }
}

TEST_F(WaitFor, IsFalseWhenTheTimeoutHasPassed) {
  add("orders");
  covered("orders", "7", 1, "0/100");
  const auto begin = steady_clock::now();
  EXPECT_EQ(now("7:1:0/200", ", '100 milliseconds'"), "f");
  EXPECT_GE(steady_clock::now() - begin, milliseconds{100});
  EXPECT_EQ(now("7:1:0/200", ", '-1 second'"), "f");
}

TEST_F(WaitFor, RefusesTransactionsThatWouldNeverSeeItMove) {
  add("orders");
  covered("orders", "7", 1, "0/100");
  for (const char* level : {"REPEATABLE READ", "SERIALIZABLE"})
    expect_refused(std::string("SET TRANSACTION ISOLATION LEVEL ") + level + "; " + call("7:1:0/1"),
                   "55000");
}

TEST_F(WaitFor, RefusesWhatIsNoToken) {
  add("orders");
  for (const char* token : {"", "7", "7:1", "7:1:0", "x:1:0/1", "7:1:0/G", "7:1:0/1:2", " 7:1:0/1",
                            "7:1:0/1 ", "-7:1:0/1", "7:1:0/123456789", "7:12345678901:0/1"})
    expect_refused(call(token), "22023");
  expect_refused("SELECT postrider.wait_for(NULL)", "22023");
  expect_refused("SELECT postrider.wait_for('7:1:0/1', NULL)", "22004");
}

TEST_F(WaitFor, RefusesAReadModelThatDoesNotExist) {
  add("orders");
  expect_refused(call("7:1:0/1", ", '0', 'order'"), "42704");
}

TEST_F(WaitFor, TellsAStrangeSystemFromOneThatIsLate) {
  expect_refused(call("7:1:0/1"), "55000");  // no read model at all
  add("orders");
  expect_refused(call("7:1:0/1"), "55000");  // none that has heard its relay
  covered("orders", "8", 1, "0/200");
  expect_refused(call("7:1:0/1"), "55000");
  expect_refused(call("7:1:0/1", ", '0', 'orders'"), "55000");
  EXPECT_EQ(now("8:1:0/201"), "f");
}

// A rebuild passes over whoever waits, but not over what their transaction does afterwards.
TEST_F(WaitFor, LeavesNoLockBehind) {
  add("orders");
  covered("orders", "7", 1, "0/200");
  const std::string locks =
      "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
  EXPECT_EQ(database.run("reader", "BEGIN; " + call("7:1:0/200") + "; " + locks), "0");
  EXPECT_EQ(database.run("reader",
                         "BEGIN; SELECT postrider.wait_for('7:1:0/900', '0 seconds'); " + locks),
            "0");
  // Cancelled, which no handler sees.
  const auto connection = PQconnectdb(database.conninfo("reader").c_str());
  for (const char* statement : {"BEGIN", "SET LOCAL statement_timeout = '50ms'", "SAVEPOINT s"})
    PQclear(PQexec(connection, statement));
  auto* cancelled = PQexec(connection, "SELECT postrider.wait_for('7:1:0/900', '20 seconds')");
  EXPECT_STREQ(PQresultErrorField(cancelled, PG_DIAG_SQLSTATE), "57014");
  PQclear(cancelled);
  PQclear(PQexec(connection, "ROLLBACK TO s"));
  auto* rows = PQexec(connection, locks.c_str());
  EXPECT_STREQ(PQgetvalue(rows, 0, 0), "0") << PQerrorMessage(connection);
  PQclear(rows);
  PQfinish(connection);
}

TEST_F(WaitFor, IsForReadersAndAppliersAndNobodyElse) {
  add("orders");
  covered("orders", "7", 1, "0/200");
  EXPECT_EQ(now("7:1:0/200"), "t");
  EXPECT_EQ(database.run("applier", call("7:1:0/200")), "t");
  expect_denied("reader", "SELECT * FROM postrider.covering(1, '0/1')");
  expect_denied("reader", "UPDATE postrider.coverage SET lsn = '0/300'");
  expect_denied("app", call("7:1:0/200"));
}

}  // namespace
}  // namespace postrider::testing
