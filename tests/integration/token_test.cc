// outbox.token(): what it names, whom it refuses, and the C++ library's call.
#include <gtest/gtest.h>
#include <postrider/outbox.h>

#include <string>

#include "service_database.h"

namespace postrider::testing {
namespace {

class Token : public ::testing::Test {
 protected:
  std::string owner(const std::string& statement) { return database.run("owner", statement); }
  std::string token() { return database.run("app", "SELECT outbox.token()"); }
  static std::string lsn_of(const std::string& token) { return token.substr(token.rfind(':') + 1); }

  ServiceDatabase database;
};

TEST_F(Token, NamesSystemTimelineAndAPlaceBehindTheCommit) {
  const auto before = owner("SELECT pg_current_wal_insert_lsn()");
  database.run("app", "SELECT outbox.emit('s', '{}')");
  const auto text = token();
  EXPECT_EQ(text.substr(0, text.rfind(':')),
            owner("SELECT system_identifier FROM pg_control_system()") + ":" +
                owner("SELECT timeline_id FROM pg_control_checkpoint()"));
  EXPECT_EQ(owner("SELECT '" + lsn_of(text) + "'::pg_lsn > '" + before + "'"), "t");
  EXPECT_EQ(owner("SELECT '" + lsn_of(text) + "'::pg_lsn <= pg_current_wal_insert_lsn()"), "t");
}

TEST_F(Token, RefusesATransactionThatHasWritten) {
  const auto refusal =
      database.refusal("app", "SELECT outbox.emit('s', '{}'); SELECT outbox.token()");
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->sqlstate, "55000") << *refusal;
  EXPECT_FALSE(refusal->hint.empty()) << *refusal;
}

TEST_F(Token, IsGivenTwiceAndInReadOnlyTransactionsAlsoWhileOthersWrite) {
  pqxx::connection writer(database.conninfo("app"));
  pqxx::work open(writer);
  for (int round = 0; round < 3; ++round) {
    open.exec("SELECT outbox.emit('s', '{}')");  // WAL that nobody has flushed
    const auto twice = database.run(
        "app", "SET TRANSACTION READ ONLY; SELECT outbox.token(); SELECT outbox.token()");
    EXPECT_FALSE(twice.empty());
  }
  open.abort();
}

// Where the next record goes just behind a page's header, the last one ended at the page's start.
TEST_F(Token, NeverNamesAPlaceBehindAPageHeader) {
  for (const int offset : {24, 40}) {
    const std::string place = "'0/10000" + std::string(offset == 24 ? "18" : "28") + "'::pg_lsn";
    // The function's own rule, for the LSN that it would read.
    const auto body =
        owner("SELECT prosrc FROM pg_proc WHERE oid = 'outbox.token()'::regprocedure");
    const std::string call = "pg_current_wal_insert_lsn()";
    ASSERT_NE(body.find(call), std::string::npos);
    auto changed = body;
    changed.replace(changed.find(call), call.size(), place);
    owner("CREATE FUNCTION outbox.token_at() RETURNS text LANGUAGE plpgsql AS $body$" + changed +
          "$body$");
    EXPECT_EQ(lsn_of(owner("SELECT outbox.token_at()")), "0/1000000");
    owner("DROP FUNCTION outbox.token_at()");
  }
}

TEST_F(Token, WorksWhereItMayNotWriteIntoTheWal) {
  dev::execute(database.conninfo("postgres"),
               {"DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid::regprocedure FROM "
                "pg_proc WHERE proname = 'pg_logical_emit_message' LOOP EXECUTE format('REVOKE "
                "EXECUTE ON FUNCTION %s FROM PUBLIC, owner', f); END LOOP; END $$"});
  pqxx::connection writer(database.conninfo("app"));
  pqxx::work open(writer);
  open.exec("SELECT outbox.emit('s', '{}')");
  EXPECT_FALSE(token().empty());
  open.abort();
}

TEST_F(Token, IsForWriters) {
  const auto refusal = database.refusal("relay", "SELECT outbox.token()");
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->sqlstate, "42501") << *refusal;
}

TEST_F(Token, OfTheLibraryIsTakenAfterTheCommitOnTheSameConnection) {
  pqxx::connection app(database.conninfo("app"));
  pqxx::work tx(app);
  emit(tx, {.subject = "s", .payload = Json{"{}"}});
  tx.commit();
  const auto text = postrider::token(app);
  EXPECT_EQ(text.substr(0, text.rfind(':')), token().substr(0, text.rfind(':')));
  EXPECT_EQ(owner("SELECT '" + lsn_of(text) + "'::pg_lsn <= pg_current_wal_insert_lsn()"), "t");
}

TEST_F(Token, OfTheLibraryIsRefusedWhileATransactionIsOpen) {
  pqxx::connection app(database.conninfo("app"));
  pqxx::work tx(app);
  EXPECT_ANY_THROW(static_cast<void>(postrider::token(app)));
}

}  // namespace
}  // namespace postrider::testing
