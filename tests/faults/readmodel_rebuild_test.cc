// A read model is built anew while it is read and applied: nobody sees it half, gone or older.
#include <libpq-fe.h>

#include "tests/support/ledger.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr const char* kGeneration =
    "SELECT generation FROM postrider.cursor WHERE readmodel = 'ledger'";
// The locks of appliers; a rebuild is one.
constexpr const char* kAppliers =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND "
    "classid = 28769";

class Rebuild : public LedgerWorld {
 protected:
  void expect_nothing_left_over() {
    EXPECT_EQ(target_sql("SELECT coalesce(string_agg(nspname, ','), '') FROM pg_namespace "
                         "WHERE nspname LIKE 'ledger\\_\\_%'"),
              "");
    EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.cursor"), "1");
  }
  // Events in the stream, applied, readable by the service.
  void begin() {
    emit({"a", "b", "c"});
    catch_up();
    ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
    target_sql(
        "GRANT USAGE ON SCHEMA ledger TO app; GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO app");
  }
};

TEST_F(Rebuild, SwapsUnderLoadWithoutAReaderSeeingIt) {
  begin();
  const auto relay = start_relay(quick());
  const auto applier = apply();
  Bank bank(conninfo("app"), 2);
  LedgerReader reader(target_conninfo("app"));
  for (int generation = 2; generation <= 4; ++generation) {
    bank.wait_for_more(100);
    ASSERT_EQ(command({"rebuild", "ledger"}), 0) << output();
    ASSERT_EQ(target_sql(kGeneration), std::to_string(generation));
    const auto now = std::stoull(target_sql("SELECT n FROM ledger.tally"));
    ASSERT_TRUE(applied(now + 20)) << "the live applier must go on: " << applier->log();
  }
  bank.stop();
  relay->terminate();
  ASSERT_TRUE(relay->wait(kPatience).has_value());
  catch_up();
  ASSERT_TRUE(applied(last_seq()));
  EXPECT_EQ(reader.stop(), "");
  EXPECT_GT(reader.reads(), 100);
  expect_exact();
  expect_nothing_left_over();
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.audit WHERE action = 'rebuild'"), "3");
  EXPECT_EQ(output().find("no process applies it"), std::string::npos) << output();
}

TEST_F(Rebuild, CarriesPrivilegesOver) {
  begin();
  target_sql(
      "CREATE ROLE auditor NOLOGIN; GRANT SELECT (key), UPDATE (key) ON ledger.entry TO auditor;"
      "REVOKE EXECUTE ON FUNCTION ledger.record FROM PUBLIC;"
      "COMMENT ON SCHEMA ledger IS 'what everybody reads'");
  const auto privileges =
      "SELECT (SELECT nspacl::text || obj_description(oid) FROM pg_namespace WHERE nspname = "
      "'ledger') "
      "|| (SELECT string_agg(relname || relacl::text, ' ' ORDER BY relname) FROM pg_class "
      "    WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'r') "
      "|| (SELECT attacl::text FROM pg_attribute WHERE attrelid = 'ledger.entry'::regclass "
      "    AND attname = 'key') "
      "|| (SELECT proacl::text FROM pg_proc WHERE oid = 'ledger.record'::regproc)";
  const auto before = target_sql(privileges);
  ASSERT_NE(before, "");
  ASSERT_EQ(command({"rebuild", "ledger"}), 0) << output();
  EXPECT_EQ(target_sql(privileges), before);
  EXPECT_NE(output().find("no process applies it"), std::string::npos) << output();
}

TEST_F(Rebuild, NeverGoesBehindTheLiveOne) {
  begin();
  // The live one knows more than the stream: it was cut back, and is not published again yet.
  target_sql("UPDATE postrider.cursor SET ordinal = 5");
  const auto rebuild = apply({"rebuild", "ledger"}, {}, "rebuild");
  ASSERT_TRUE(dev::wait_until(
      [&] { return rebuild->log().find("live read model is at ordinal 5") != std::string::npos; },
      kPatience))
      << rebuild->log();
  EXPECT_EQ(target_sql(kGeneration), "1");
  emit({"d", "e"});
  catch_up();
  EXPECT_EQ(rebuild->wait(kPatience), 0) << rebuild->log();
  expect_exact();
}

TEST_F(Rebuild, WaitsForATransactionThatKeepsAnOldSnapshot) {
  begin();
  const auto snapshot = PQconnectdb(target_conninfo("app").c_str());
  PQclear(PQexec(snapshot, "BEGIN ISOLATION LEVEL REPEATABLE READ"));
  PQclear(PQexec(snapshot, "SELECT ordinal FROM postrider.cursor"));
  const auto rebuild = apply({"rebuild", "ledger"}, {}, "rebuild");
  EXPECT_TRUE(dev::wait_until(
      [&] { return rebuild->log().find("older transaction to end: backend") != std::string::npos; },
      kPatience))
      << rebuild->log();
  EXPECT_EQ(target_sql(kGeneration), "1");
  auto* rows = PQexec(snapshot, "SELECT count(*) FROM ledger.entry");
  EXPECT_STREQ(PQgetvalue(rows, 0, 0), "3");
  PQclear(rows);
  PQfinish(snapshot);
  EXPECT_EQ(rebuild->wait(kPatience), 0) << rebuild->log();
  EXPECT_EQ(target_sql(kGeneration), "2");
}

TEST_F(Rebuild, WaitsForATransactionThatHasReadOneOfTheTables) {
  begin();
  auto* reader = PQconnectdb(target_conninfo("app").c_str());
  PQclear(PQexec(reader, "BEGIN; SELECT count(*) FROM ledger.entry"));  // READ COMMITTED
  const auto rebuild = apply({"rebuild", "ledger"}, {}, "rebuild");
  EXPECT_TRUE(dev::wait_until(
      [&] { return rebuild->log().find("waiting for a reader of") != std::string::npos; },
      kPatience))
      << rebuild->log();
  EXPECT_EQ(target_sql(kGeneration), "1");
  auto* rows = PQexec(reader, "SELECT n FROM ledger.tally");
  EXPECT_STREQ(PQgetvalue(rows, 0, 0), "3") << PQerrorMessage(reader);
  PQclear(rows);
  PQfinish(reader);
  EXPECT_EQ(rebuild->wait(kPatience), 0) << rebuild->log();
  EXPECT_EQ(target_sql(kGeneration), "2");
}

TEST_F(Rebuild, IsNotHeldUpByWhoeverWaitsForTheReadModel) {
  begin();
  auto* waiter = PQconnectdb(target_conninfo("app").c_str());
  ASSERT_EQ(PQsendQuery(waiter, "SELECT postrider.wait_for('1:1:FFFFFFFF/0', '170 s')"), 1);
  ASSERT_TRUE(
      target_says("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND "
                  "classid = 28791",
                  "1"));
  EXPECT_EQ(command({"rebuild", "ledger"}), 0) << output();
  EXPECT_EQ(PQconsumeInput(waiter), 1);
  EXPECT_EQ(PQisBusy(waiter), 1) << "it waited through the swap: " << PQerrorMessage(waiter);
  PQfinish(waiter);
}

// Made while the new tables are built: the swap would leave it on the old ones, and drop it with
// them.
TEST_F(Rebuild, RefusesToSwapUnderAViewThatWasMadeMeanwhile) {
  begin();
  const auto rebuild = apply({"rebuild", "ledger"}, "rebuild.before_swap=stop", "rebuild");
  ASSERT_TRUE(dev::wait_until([&] { return rebuild->stopped(); }, kPatience)) << rebuild->log();
  target_sql("CREATE VIEW public.keys AS SELECT key FROM ledger.entry");
  rebuild->resume();
  EXPECT_EQ(rebuild->wait(kPatience), 78) << rebuild->log();
  EXPECT_NE(rebuild->log().find("view keys"), std::string::npos) << rebuild->log();
  EXPECT_EQ(target_sql("SELECT count(*) FROM public.keys"), "3");
  EXPECT_EQ(target_sql(kGeneration), "1");
  target_sql("DROP VIEW public.keys");
  EXPECT_EQ(command({"rebuild", "ledger"}), 0) << output();
}

// A foreign key, and the last moment: the check is of the swap's own transaction.
TEST_F(Rebuild, RefusesToSwapUnderAForeignKeyThatWasMadeMeanwhile) {
  begin();
  const auto rebuild = apply({"rebuild", "ledger"}, "rebuild.before_swap=stop", "rebuild");
  ASSERT_TRUE(dev::wait_until([&] { return rebuild->stopped(); }, kPatience)) << rebuild->log();
  target_sql("CREATE TABLE public.note (id uuid REFERENCES ledger.entry (id))");
  rebuild->resume();
  EXPECT_EQ(rebuild->wait(kPatience), 78) << rebuild->log();
  EXPECT_NE(rebuild->log().find("constraint note_id_fkey"), std::string::npos) << rebuild->log();
  EXPECT_EQ(target_sql(kGeneration), "1");
  emit({"d"});
  catch_up();
  EXPECT_EQ(command({"--until-caught-up"}), 0) << output();
  expect_exact();
}

// Made between the swap and the drop, by whoever still had the old tables' names.
TEST_F(Rebuild, DoesNotDropWhatSomebodyMadeUponTheReplacedTables) {
  begin();
  const auto rebuild = apply({"rebuild", "ledger"}, "rebuild.after_commit=stop", "rebuild");
  ASSERT_TRUE(dev::wait_until([&] { return rebuild->stopped(); }, kPatience)) << rebuild->log();
  target_sql("CREATE VIEW public.keys AS SELECT key FROM ledger__old.entry");
  rebuild->resume();
  EXPECT_EQ(rebuild->wait(kPatience), 0) << rebuild->log();
  EXPECT_NE(rebuild->log().find("view keys"), std::string::npos) << rebuild->log();
  EXPECT_EQ(command({"--until-caught-up"}), 0) << output();
  EXPECT_EQ(target_sql("SELECT count(*) FROM public.keys"), "3");
  EXPECT_EQ(command({"rebuild", "ledger"}), 78) << output();
  EXPECT_NE(output().find("ledger__old"), std::string::npos) << output();
  EXPECT_EQ(target_sql("SELECT count(*) FROM public.keys"), "3");
  target_sql("DROP VIEW public.keys");
  EXPECT_EQ(command({"--until-caught-up"}), 0) << output();
  expect_nothing_left_over();
  expect_exact();
}

// The live applier and a rebuild both drop them. One that waits for the other's locks finds
// nothing.
TEST_F(Rebuild, GoesOnWhenAnotherDropsTheReplacedTablesFirst) {
  begin();
  const auto rebuild = apply({"rebuild", "ledger"}, "rebuild.after_commit=stop", "rebuild");
  ASSERT_TRUE(dev::wait_until([&] { return rebuild->stopped(); }, kPatience)) << rebuild->log();
  auto* other = PQconnectdb(target_conninfo("applier").c_str());
  PQclear(PQexec(other, "BEGIN; DROP SCHEMA ledger__old CASCADE"));
  rebuild->resume();
  ASSERT_TRUE(
      target_says("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = "
                  "'Lock' AND query LIKE 'LOCK TABLE ledger\\_\\_old.%'",
                  "t"))
      << rebuild->log();
  PQclear(PQexec(other, "COMMIT"));
  EXPECT_EQ(rebuild->wait(kPatience), 0) << rebuild->log();
  PQfinish(other);
  expect_nothing_left_over();
  expect_exact();
}

// The swap ends the live applier's session; for a moment nobody holds its lock.
TEST_F(Rebuild, TellsAnApplierThatIsComingBackFromNone) {
  begin();
  auto applier = apply({}, "apply.before_lock=stop@2,apply.before_lock=stop@3", "live");
  const auto comes_back = [&](const std::string& name) {
    const auto rebuild = apply({"rebuild", "ledger"}, "rebuild.after_commit=stop", name);
    if (!dev::wait_until([&] { return rebuild->stopped(); }, kPatience))
      return "no swap: " + rebuild->log();
    emit({name});  // so that the applier finds its cursor gone
    catch_up();
    if (!dev::wait_until([&] { return applier->stopped(); }, kPatience))
      return "goes on: " + applier->log();
    if (!target_says(kAppliers, "1"))  // the rebuild's own
      return std::string("its backend goes on");
    rebuild->resume();
    const auto waits = [&] {
      return rebuild->log().find("waiting for its applier to come back") != std::string::npos;
    };
    if (!dev::wait_until(waits, kPatience)) return "does not wait: " + rebuild->log();
    if (name == "first")
      applier->resume();
    else
      applier->kill();
    if (rebuild->wait(kPatience) != 0) return "failed: " + rebuild->log();
    return std::string(rebuild->log().find("no process applies it") == std::string::npos
                           ? "it came"
                           : "it did not");
  };
  ASSERT_TRUE(target_says(kAppliers, "1")) << applier->log();
  EXPECT_EQ(comes_back("first"), "it came");
  EXPECT_EQ(comes_back("second"), "it did not");
}

TEST_F(Rebuild, RefusesASecondOneAtTheSameTime) {
  begin();
  const auto first = apply({"rebuild", "ledger"}, "rebuild.before_swap=stop", "rebuild");
  ASSERT_TRUE(dev::wait_until([&] { return first->stopped(); }, kPatience)) << first->log();
  (void)ledger_config("takeover_after = \"10m\"", {}, "second");
  EXPECT_EQ(
      postrider({"apply", "--config", (folder_ / "second.toml").string(), "rebuild", "ledger"}), 75)
      << output();
  EXPECT_NE(output().find("another rebuild"), std::string::npos) << output();
  first->resume();
  EXPECT_EQ(first->wait(kPatience), 0) << first->log();
  expect_exact();
}

TEST_F(Rebuild, RefusesWhatItCouldNotSwap) {
  begin();
  target_sql("CREATE SCHEMA reports; CREATE VIEW reports.v AS SELECT key FROM ledger.entry");
  EXPECT_EQ(command({"rebuild", "ledger"}), 78) << output();
  EXPECT_NE(output().find("view reports.v"), std::string::npos) << output();
  target_sql("DROP VIEW reports.v; CREATE PUBLICATION feed FOR TABLE ledger.entry");
  EXPECT_EQ(command({"rebuild", "ledger"}), 78) << output();
  EXPECT_NE(output().find("publication feed"), std::string::npos) << output();
  target_sql("ALTER PUBLICATION feed SET TABLES IN SCHEMA ledger");
  EXPECT_EQ(command({"rebuild", "ledger"}), 78) << output();
  EXPECT_NE(output().find("publication feed"), std::string::npos) << output();
  target_sql("DROP PUBLICATION feed; CREATE SCHEMA ledger__rebuild");
  EXPECT_EQ(command({"rebuild", "ledger"}), 78) << output();
  EXPECT_NE(output().find("ledger__rebuild"), std::string::npos) << output();
  target_sql("DROP SCHEMA ledger__rebuild; REVOKE CREATE ON DATABASE views FROM applier");
  EXPECT_EQ(command({"rebuild", "ledger"}), 35) << output();
  EXPECT_NE(output().find("GRANT CREATE ON DATABASE"), std::string::npos) << output();
  target_sql("GRANT CREATE ON DATABASE views TO applier");
  EXPECT_EQ(command({"rebuild", "ledger"}), 0) << output();
  EXPECT_EQ(postrider({"apply", "--config", write_apply_config({}, {}, "bank").string(), "rebuild",
                       "bank"}),
            78);
  EXPECT_NE(output().find("no setup file"), std::string::npos) << output();
}

TEST_F(Rebuild, RefusesAProjectionThatUsesTheLiveTables) {
  write_setup(std::string(kSetup) +
              "CREATE OR REPLACE FUNCTION refuse(e postrider.event) RETURNS void LANGUAGE plpgsql "
              "AS $$ BEGIN UPDATE ledger.tally SET n = n; END $$;");
  begin();
  EXPECT_EQ(command({"rebuild", "ledger"}), 78) << output();
  EXPECT_NE(output().find("ledger.tally, a live table"), std::string::npos) << output();
  expect_exact();
}

class Setup : public LedgerWorld {};

TEST_F(Setup, MakesEverythingOrNothing) {
  emit({"a"});
  catch_up();
  write_setup("CREATE TABLE entry (ordinal bigint);\nCREATE TABEL tally (n int);");
  EXPECT_EQ(command({"--until-caught-up"}), 78);
  EXPECT_NE(output().find("ledger.sql"), std::string::npos) << output();
  EXPECT_NE(output().find("LINE 2: CREATE TABEL"), std::string::npos) << output();
  EXPECT_EQ(target_sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'ledger'"), "0");
  write_setup("");
  EXPECT_EQ(command({"--until-caught-up"}), 78);
  EXPECT_NE(output().find("is empty"), std::string::npos) << output();
  std::filesystem::remove(folder_ / "ledger.sql");
  EXPECT_EQ(command({"--until-caught-up"}), 78);
  EXPECT_NE(output().find("cannot be read"), std::string::npos) << output();
  write_setup(kSetup);
  EXPECT_EQ(command({"--until-caught-up"}), 0) << output();
  expect_exact();
}

TEST_F(Setup, RefusesASchemaThatItDoesNotKnow) {
  target_sql("CREATE SCHEMA ledger AUTHORIZATION applier");
  EXPECT_EQ(command({"--until-caught-up"}), 78);
  EXPECT_NE(output().find("has no cursor"), std::string::npos) << output();
  target_sql("DROP SCHEMA ledger; REVOKE CREATE ON DATABASE views FROM applier");
  EXPECT_EQ(command({"--until-caught-up"}), 35);
  EXPECT_NE(output().find("GRANT CREATE ON DATABASE"), std::string::npos) << output();
  target_sql("GRANT CREATE ON DATABASE views TO applier");
  emit({"a"});
  catch_up();
  EXPECT_EQ(command({"--until-caught-up"}), 0) << output();
  target_sql("DROP SCHEMA ledger CASCADE");
  EXPECT_EQ(command({"--until-caught-up"}), 78);
  EXPECT_NE(output().find("postrider apply rebuild ledger"), std::string::npos) << output();
  EXPECT_EQ(command({"rebuild", "ledger"}), 0) << output();
  expect_exact();
}

class RebuildKilledAt : public Rebuild, public ::testing::WithParamInterface<std::string> {};

TEST_P(RebuildKilledAt, GoesOnWhenItIsRunAgain) {
  begin();
  const auto relay = start_relay(quick());
  const auto applier = apply();
  Bank bank(conninfo("app"), 1);
  LedgerReader reader(target_conninfo("app"));
  bank.wait_for_more(100);
  const auto rebuild = apply({"rebuild", "ledger"}, GetParam(), "rebuild");
  const auto status = rebuild->wait(kPatience);
  ASSERT_EQ(status, 128 + 9) << "the failpoint was not reached: " << rebuild->log();
  ASSERT_EQ(command({"rebuild", "ledger"}), 0) << output();
  bank.wait_for_more(20);
  bank.stop();
  relay->terminate();
  ASSERT_TRUE(relay->wait(kPatience).has_value());
  catch_up();
  ASSERT_TRUE(applied(last_seq()));
  EXPECT_EQ(reader.stop(), "");
  expect_exact();
  expect_nothing_left_over();
}

INSTANTIATE_TEST_SUITE_P(Each, RebuildKilledAt,
                         ::testing::Values("rebuild.after_setup=kill", "apply.before_commit=kill",
                                           "apply.after_commit=kill", "rebuild.before_swap=kill",
                                           "rebuild.tables_locked=kill",
                                           "rebuild.before_commit=kill",
                                           "rebuild.after_commit=kill"),
                         [](const auto& point) {
                           std::string name = point.param.substr(0, point.param.find('='));
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace postrider::test
