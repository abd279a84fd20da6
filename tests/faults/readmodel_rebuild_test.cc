// A read model is built anew while it is read and applied: nobody sees it half, gone or older.
#include "tests/support/ledger.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr const char* kGeneration =
    "SELECT generation FROM postrider.cursor WHERE readmodel = 'ledger'";

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
