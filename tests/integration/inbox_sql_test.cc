// postrider.inbox_claim and inbox_forget: one committed transaction an event and consumer, whoever
// races for it.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <pqxx/pqxx>
#include <string>

#include "dev/process.h"
#include "migrations/migrations.h"
#include "service_database.h"

namespace postrider::testing {
namespace {

constexpr const char* kInvalid = "22023";
constexpr const char* kDenied = "42501";

// One consumer process: a connection with at most one open transaction.
class Claimer {
 public:
  explicit Claimer(const std::string& conninfo) : connection_(conninfo) {}

  bool claim(const std::string& event, const std::string& consumer = "billing") {
    if (!tx_) tx_ = std::make_unique<pqxx::work>(connection_);
    return tx_->exec("SELECT postrider.inbox_claim('" + consumer + "', '" + event + "')")[0][0]
        .as<bool>();
  }
  std::string exec(const std::string& statement) {
    if (!tx_) tx_ = std::make_unique<pqxx::work>(connection_);
    const pqxx::result rows = tx_->exec(statement);
    return rows.empty() ? "" : rows[0][0].as<std::string>();
  }
  void commit() {
    tx_->commit();
    tx_.reset();
  }
  void rollback() {
    tx_->abort();
    tx_.reset();
  }
  [[nodiscard]] int pid() const { return connection_.backendpid(); }

 private:
  pqxx::connection connection_;
  std::unique_ptr<pqxx::work> tx_;
};

class Inbox : public ::testing::Test {
 protected:
  Inbox() {
    for (const auto& migration : readmodel_migrations())
      database.run("owner", std::string(migration.up));
  }
  std::string count() { return database.run("owner", "SELECT count(*) FROM postrider.inbox"); }
  bool waits(const Claimer& claimer) {
    return dev::wait_until(
        [&] {
          return database.run("reader", "SELECT cardinality(pg_blocking_pids(" +
                                         std::to_string(claimer.pid()) + "))") != "0";
        },
        std::chrono::seconds(10));
  }
  void expect_refused(const std::string& call) {
    SCOPED_TRACE(call);
    const auto refusal = database.refusal("reader", "SELECT " + call);
    ASSERT_TRUE(refusal) << "it was accepted";
    EXPECT_EQ(refusal->sqlstate, kInvalid) << *refusal;
    EXPECT_FALSE(refusal->hint.empty()) << *refusal;
  }

  ServiceDatabase database{ServiceDatabase::Migrated::kNo};
  Claimer first{database.conninfo("reader")};
  Claimer second{database.conninfo("reader")};
};

TEST_F(Inbox, ClaimIsTrueOnceForEachConsumer) {
  EXPECT_TRUE(first.claim("e1"));
  EXPECT_FALSE(first.claim("e1"));
  EXPECT_TRUE(first.claim("e1", "mailing"));
  first.commit();
  EXPECT_FALSE(second.claim("e1"));
  EXPECT_FALSE(second.claim("e1", "mailing"));
  EXPECT_TRUE(second.claim("e2"));
}

TEST_F(Inbox, RollbackTakesTheClaimBack) {
  EXPECT_TRUE(first.claim("e1"));
  first.rollback();
  EXPECT_TRUE(first.claim("e1"));
  first.exec("SAVEPOINT s");
  EXPECT_TRUE(first.claim("e2"));
  first.exec("ROLLBACK TO SAVEPOINT s");
  first.commit();
  EXPECT_FALSE(second.claim("e1"));
  EXPECT_TRUE(second.claim("e2"));
}

TEST_F(Inbox, SecondClaimWaitsAndIsFalseAfterTheFirstOnesCommit) {
  EXPECT_TRUE(first.claim("e1"));
  auto claimed = std::async(std::launch::async, [&] { return second.claim("e1"); });
  EXPECT_TRUE(waits(second));
  first.commit();
  EXPECT_FALSE(claimed.get());
}

TEST_F(Inbox, SecondClaimWaitsAndIsTrueAfterTheFirstOnesRollback) {
  EXPECT_TRUE(first.claim("e1"));
  auto claimed = std::async(std::launch::async, [&] { return second.claim("e1"); });
  EXPECT_TRUE(waits(second));
  first.rollback();
  EXPECT_TRUE(claimed.get());
}

// An older snapshot cannot see the other claim: it must fail, and never say true.
TEST_F(Inbox, ClaimInAnOlderSnapshotFailsToSerialize) {
  second.exec("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
  second.exec("SELECT count(*) FROM pg_class");
  EXPECT_TRUE(first.claim("e1"));
  first.commit();
  EXPECT_THROW(second.claim("e1"), pqxx::serialization_failure);
}

TEST_F(Inbox, ClaimMakesTheCommitDurable) {
  first.exec("SET LOCAL synchronous_commit = off");
  first.claim("e1");
  EXPECT_EQ(first.exec("SHOW synchronous_commit"), "on");
  first.commit();
  // A duplicate too: what it rests on is durable, and stays the transaction's own affair.
  first.exec("SET LOCAL synchronous_commit = remote_write");
  EXPECT_FALSE(first.claim("e1"));
  EXPECT_EQ(first.exec("SHOW synchronous_commit"), "remote_write");
}

TEST_F(Inbox, RefusesWhatIsNoName) {
  for (const char* bad : {"NULL", "''"}) {
    expect_refused("postrider.inbox_claim(" + std::string(bad) + ", 'e1')");
    expect_refused("postrider.inbox_claim('billing', " + std::string(bad) + ")");
  }
  expect_refused("postrider.inbox_claim(repeat('b', 101), 'e1')");
  expect_refused("postrider.inbox_claim('billing', repeat('e', 201))");
  EXPECT_EQ(database.run("reader", "SELECT postrider.inbox_claim(repeat('b', 100), repeat('e', 200))"),
            "t");
  EXPECT_EQ(count(), "1");
}

TEST_F(Inbox, ForgetDeletesOnlyOldClaimsOfThatConsumer) {
  for (const char* event : {"old1", "old2", "new"}) {
    first.claim(event);
    first.claim(event, "mailing");
  }
  first.commit();
  database.run("owner",
               "UPDATE postrider.inbox SET claimed_at = now() - interval '8 days' "
               "WHERE event LIKE 'old%'");
  EXPECT_EQ(database.run("reader", "SELECT postrider.inbox_forget('billing', '9 days')"), "0");
  EXPECT_EQ(database.run("reader", "SELECT postrider.inbox_forget('billing', '7 days')"), "2");
  EXPECT_FALSE(first.claim("new"));
  EXPECT_FALSE(first.claim("old1", "mailing"));
  EXPECT_TRUE(first.claim("old1"));
}

TEST_F(Inbox, ForgetRefusesAnAgeThatIsNone) {
  for (const char* age : {"NULL", "'0'", "'-1 day'"})
    expect_refused("postrider.inbox_forget('billing', " + std::string(age) + ")");
  expect_refused("postrider.inbox_forget(NULL, '1 day')");
}

TEST_F(Inbox, ReaderHasTheFunctionsAndNotTheTable) {
  for (const char* statement :
       {"SELECT * FROM postrider.inbox", "DELETE FROM postrider.inbox",
        "INSERT INTO postrider.inbox (consumer, event) VALUES ('billing', 'e1')"}) {
    const auto refusal = database.refusal("reader", statement);
    ASSERT_TRUE(refusal) << statement;
    EXPECT_EQ(refusal->sqlstate, kDenied) << *refusal;
  }
  const auto stranger = database.refusal("relay", "SELECT postrider.inbox_claim('billing', 'e1')");
  ASSERT_TRUE(stranger);
  EXPECT_EQ(stranger->sqlstate, kDenied) << *stranger;
}

}  // namespace
}  // namespace postrider::testing
