// `postrider verify NAME`: finds what is wrong, finds nothing where nothing is, and holds nobody up
// however it ends.
#include <signal.h>

#include <nlohmann/json.hpp>
#include <random>

#include "tests/support/readmodel_world.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;
constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kEqual = 0;
constexpr int kDiffers = 1;
constexpr int kCouldNotSay = 2;

// The bank's balances on both sides. A holder without money has an account only once it had some.
constexpr const char* kBalances = R"(
[[verify]]
readmodel = "bank"
name = "balances"
source = "SELECT name AS key, cents FROM holder WHERE cents <> 0"
target = "SELECT key, balance AS cents FROM account WHERE balance <> 0 -- what is there"
key = ["key"]
)";

class VerifyReadModel : public ReadModelWorld {
 protected:
  VerifyReadModel() { sql("GRANT SELECT ON holder TO relay"); }

  std::unique_ptr<RelayProcess> start_verify(std::vector<std::string> arguments = {},
                                             const std::string& failpoints = {},
                                             const std::string& name = "verify",
                                             const std::string& comparisons = kBalances) {
    arguments.insert(arguments.begin(), "bank");
    return std::make_unique<RelayProcess>(write_apply_config({}, comparisons, name),
                                          folder_ / (name + ".log"), failpoints, arguments,
                                          "verify");
  }
  // Its exit code; what it said is in `said_`.
  int verify(std::vector<std::string> arguments = {}, const std::string& comparisons = kBalances) {
    const auto process = start_verify(std::move(arguments), {}, "verify", comparisons);
    const auto status = process->wait(kPatience);
    said_ = process->log();
    return status.value_or(-1);
  }
  Json verify_json(const std::string& comparisons = kBalances,
                   std::vector<std::string> arguments = {}) {
    arguments.emplace_back("--json");
    verify(std::move(arguments), comparisons);
    return Json::parse(said_);
  }
  // Kinds and keys that a comparison found, as text.
  static std::string findings(const Json& comparison) {
    std::vector<std::string> texts;
    for (const auto& d : comparison["differences"])
      texts.push_back(d["kind"].get<std::string>() + d["key"].get<std::string>());
    std::ranges::sort(texts);
    std::string all;
    for (const auto& text : texts) all += (all.empty() ? "" : " ") + text;
    return all;
  }
  // The bank ran and everything is applied; nothing runs but relay and applier.
  void quiet_bank(long transactions = 100) {
    Bank bank(conninfo("app"), 2);
    bank.wait_for_more(transactions);
    bank.stop();
    ASSERT_TRUE(dev::wait_until(
        [&] { return sql("SELECT sum(abs(cents)) FROM holder") == target_balances(); }, kPatience));
  }
  std::string target_balances() { return target_sql("SELECT sum(abs(balance)) FROM account"); }

  std::string said_;
};

TEST_F(VerifyReadModel, UnderLiveLoadFindsNothingWhileTheApplierIsKilled) {
  const auto relay = start_relay(quick());
  auto applier = start_applier();
  Bank bank(conninfo("app"), 3);
  ASSERT_TRUE(wait_for_applied(50));
  std::mt19937 random(20261125);
  int equal = 0;
  long held_ms = 0;
  for (int round = 0; round < 12; ++round) {
    const auto verify = start_verify({"--json"});
    if (round % 2 == 0) {
      bank.wait_for_more(static_cast<long>(random() % 40));
      applier->kill();
      applier = start_applier();
    }
    const auto status = verify->wait(kPatience);
    ASSERT_TRUE(status == kEqual || status == kCouldNotSay) << verify->log();
    if (status != kEqual) continue;
    ++equal;
    const auto said = Json::parse(verify->log());
    held_ms = std::max(held_ms, said["held_ms"].get<long>());
    EXPECT_GT(said["comparisons"][0]["source_rows"].get<int>(), 0);
    EXPECT_GT(said["ordinal"].get<long>(), 0);
  }
  EXPECT_GE(equal, 10);
  RecordProperty("held_ms", std::to_string(held_ms));
  const auto before = applied_ordinal();
  EXPECT_TRUE(wait_for_applied(before + 50)) << applier->log();
}

TEST_F(VerifyReadModel, UnderLiveLoadFindsAValueChangedByHand) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  Bank bank(conninfo("app"), 3);
  ASSERT_TRUE(wait_for_applied(200));
  ASSERT_EQ(verify(), kEqual) << said_;
  target_sql("UPDATE account SET balance = balance + 1000000007 WHERE key = 'h7'");
  const auto said = verify_json();
  EXPECT_EQ(findings(said["comparisons"][0]), "different(h7)") << said;
  EXPECT_EQ(said["verdict"], "differs");
}

TEST_F(VerifyReadModel, ListsWhatWasChangedDeletedAndInsertedByHand) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(quiet_bank());
  sql("UPDATE holder SET cents = 10 WHERE name IN ('h1', 'h2')");
  target_sql("UPDATE account SET balance = 10 WHERE key IN ('h1', 'h2')");
  ASSERT_EQ(verify(), kEqual) << said_;
  EXPECT_NE(said_.find("EQUAL"), std::string::npos);

  target_sql("UPDATE account SET balance = 11 WHERE key = 'h1'");
  target_sql("DELETE FROM account WHERE key = 'h2'");
  target_sql("INSERT INTO account VALUES ('nobody', 5, 1, 1)");
  ASSERT_EQ(verify(), kDiffers) << said_;
  for (const char* line :
       {"different  key (h1)", "source      (h1,10)", "read model  (h1,11)", "missing  key (h2)",
        "source      (h2,10)", "surplus  key (nobody)", "read model  (nobody,5)", "DIFFERS"})
    EXPECT_NE(said_.find(line), std::string::npos) << line << "\n" << said_;
  const auto said = verify_json();
  EXPECT_EQ(findings(said["comparisons"][0]), "different(h1) missing(h2) surplus(nobody)") << said;
  // Of three rows to list, two.
  const auto fewer = verify_json(kBalances, {"--limit", "2"});
  EXPECT_EQ(fewer["comparisons"][0]["differences"].size(), 2U);
  EXPECT_FALSE(fewer["comparisons"][0]["complete"].get<bool>());
}

TEST_F(VerifyReadModel, FindsTheEffectOfAnEventThatAProjectionLost) {
  // It passes over the seventh event.
  const auto body = target_sql("SELECT prosrc FROM pg_proc WHERE proname = 'apply_bank'");
  const std::string loop = "LOOP";
  auto faulty = body;
  faulty.insert(faulty.find(loop) + loop.size(), " CONTINUE WHEN e.ordinal = 7;");
  applier_sql(
      "CREATE OR REPLACE FUNCTION apply_bank(events postrider.event[]) RETURNS void "
      "LANGUAGE plpgsql AS $$" +
      faulty + "$$");
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  std::string lost;
  for (int i = 0; i < 10; ++i) {
    const auto debtor = "h" + std::to_string(i);
    app_sql("SELECT transfer('" + debtor + "', 'h" + std::to_string(10 + i) + "', 5, 'table')");
    if (i == 3) lost = debtor;  // events 7 and 8
  }
  ASSERT_TRUE(wait_for_applied(20)) << applier->log();
  const auto said = verify_json();
  EXPECT_EQ(findings(said["comparisons"][0]), "missing(" + lost + ")") << said;
}

TEST_F(VerifyReadModel, ComparesBagsOfRowsByTheirText) {
  const std::string rows =
      "INSERT INTO t VALUES (1, NULL, 1.5), (2, '', 2), (3, 'a,b\"c', NULL), (4, 'ü', 4), "
      "(4, 'ü', 4), (NULL, 'no key', 0)";
  sql("CREATE TABLE t (id int, v text, x numeric); " + rows + "; GRANT SELECT ON t TO relay");
  applier_sql("CREATE TABLE t (id bigint, v varchar(20), x numeric); " + rows);
  const std::string t = R"(
[[verify]]
name = "t"
source = "SELECT * FROM t;"
target = "TABLE t"
key = ["id"]
)";
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(quiet_bank(5));
  ASSERT_EQ(verify({}, t), kEqual) << said_;               // int and bigint print alike
  target_sql("UPDATE t SET v = '' WHERE id = 1");          // NULL is not the empty text
  target_sql("UPDATE t SET x = 2.0 WHERE id = 2");         // nor 2.0 what 2 is
  target_sql("INSERT INTO t VALUES (3, 'a,b\"c', NULL)");  // there twice
  target_sql("DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE id = 4)");
  const auto said = verify_json(t);
  EXPECT_EQ(findings(said["comparisons"][0]), "different(1) different(2) missing(4) surplus(3)")
      << said;
}

TEST_F(VerifyReadModel, NarrowsManyDifferencesWithinBounds) {
  sql("CREATE TABLE many AS SELECT g AS id, g % 97 AS v FROM generate_series(1, 200000) g; "
      "GRANT SELECT ON many TO relay");
  applier_sql(
      "CREATE TABLE many AS SELECT g AS id, CASE WHEN g % 20 = 0 THEN -1 ELSE g % 97 END "
      "AS v FROM generate_series(1, 200000) g");
  const std::string many = R"(
[[verify]]
name = "many"
source = "SELECT id, v FROM many"
target = "SELECT id, v FROM many"
key = ["id"]
)";
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(quiet_bank(5));
  const auto said = verify_json(many)["comparisons"][0];
  EXPECT_GT(said["ranges_differing"].get<int>(), 2000);
  EXPECT_EQ(said["differences"].size(), 100U);
  EXPECT_FALSE(said["complete"].get<bool>());
  for (const auto& d : said["differences"]) EXPECT_EQ(d["kind"], "different") << d;
  RecordProperty("seconds_of_200000_rows", said["seconds"].dump());
}

class VerifyReadModelCrashAt : public VerifyReadModel,
                               public ::testing::WithParamInterface<const char*> {};

TEST_P(VerifyReadModelCrashAt, LetsTheApplierGoOn) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  Bank bank(conninfo("app"), 2);
  ASSERT_TRUE(wait_for_applied(50));
  const auto doomed = start_verify({}, std::string(GetParam()) + "=kill");
  ASSERT_EQ(doomed->wait(kPatience), 128 + SIGKILL) << doomed->log();
  const auto before = applied_ordinal();
  EXPECT_TRUE(wait_for_applied(before + 100)) << applier->log();
  EXPECT_EQ(target_sql("SELECT count(barrier_holder) FROM postrider.cursor"), "0");
  EXPECT_EQ(sql("SELECT count(*) FROM pg_replication_slots WHERE temporary"), "0");
  EXPECT_EQ(verify(), kEqual) << said_;
}

INSTANTIATE_TEST_SUITE_P(Each, VerifyReadModelCrashAt,
                         ::testing::Values("verify.before_hold", "verify.after_hold",
                                           "verify.after_slot", "verify.after_place",
                                           "verify.after_reached", "verify.after_target_snapshot",
                                           "verify.after_release"),
                         [](const auto& point) {
                           std::string name = point.param;
                           name[name.find('.')] = '_';
                           return name;
                         });

TEST_F(VerifyReadModel, GoesOnWithAnApplierThatIsKilledAtTheBarrierAndStartedAgain) {
  const auto relay = start_relay(quick());
  auto applier = start_applier("apply.after_barrier_reached=kill");
  Bank bank(conninfo("app"), 2);
  ASSERT_TRUE(wait_for_applied(50));
  EXPECT_EQ(verify(), kEqual) << said_;
  ASSERT_TRUE(applier->wait(kPatience).has_value());
  // One that starts while another verify has stopped at the barrier is held, too.
  const auto holding = start_verify({}, "verify.after_hold=stop", "holding");
  ASSERT_TRUE(dev::wait_until([&] { return holding->stopped(); }, kPatience)) << holding->log();
  const auto before = applied_ordinal();
  applier = start_applier();
  ASSERT_TRUE(dev::wait_until(
      [&] { return applier->log().find("held by verify") != std::string::npos; }, kPatience));
  EXPECT_EQ(applied_ordinal(), before);
  holding->resume();
  EXPECT_EQ(holding->wait(kPatience), kEqual) << holding->log();
  EXPECT_TRUE(wait_for_applied(before + 50)) << applier->log();
}

TEST_F(VerifyReadModel, TwiceAtOnceHoldsOneAfterTheOther) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  Bank bank(conninfo("app"), 2);
  ASSERT_TRUE(wait_for_applied(50));
  for (int round = 0; round < 3; ++round) {
    const auto first = start_verify({}, {}, "first");
    const auto second = start_verify({}, {}, "second");
    EXPECT_EQ(first->wait(kPatience), kEqual) << first->log();
    EXPECT_EQ(second->wait(kPatience), kEqual) << second->log();
  }
}

TEST_F(VerifyReadModel, ThatIsPausedIsEndedByTheServer) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  Bank bank(conninfo("app"), 2);
  ASSERT_TRUE(wait_for_applied(50));
  const auto paused = start_verify({"--timeout", "4"}, "verify.after_place=stop");
  ASSERT_TRUE(dev::wait_until([&] { return paused->stopped(); }, kPatience)) << paused->log();
  const auto before = applied_ordinal();
  EXPECT_TRUE(wait_for_applied(before + 100)) << applier->log();
  paused->resume();
  EXPECT_EQ(paused->wait(kPatience), kCouldNotSay) << paused->log();
}

TEST_F(VerifyReadModel, WithoutAnApplierCouldNotSay) {
  const auto relay = start_relay(quick());
  EXPECT_EQ(verify(), kCouldNotSay) << said_;  // never applied
  EXPECT_NE(said_.find("never been applied"), std::string::npos) << said_;
  app_sql("SELECT transfer('h1', 'h2', 5, 'table')");
  ASSERT_TRUE(wait_for_seq(2));
  apply_all();
  EXPECT_EQ(verify(), kCouldNotSay) << said_;
  EXPECT_NE(said_.find("nobody applies it"), std::string::npos) << said_;
}

TEST_F(VerifyReadModel, OfAStoppedReadModelCouldNotSay) {
  const auto relay = start_relay(quick());
  applier_sql(
      "CREATE OR REPLACE FUNCTION apply_bank(events postrider.event[]) RETURNS void "
      "LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$");
  const auto applier = start_applier();
  app_sql("SELECT transfer('h1', 'h2', 5, 'table')");
  ASSERT_TRUE(dev::wait_until(
      [&] { return target_sql("SELECT count(*) FROM postrider.stopped") == "1"; }, kPatience));
  EXPECT_EQ(verify(), kCouldNotSay) << said_;
  EXPECT_NE(said_.find("apply retry"), std::string::npos) << said_;
}

TEST_F(VerifyReadModel, OfASourceWithAnOpenWriterCouldNotSayAndNamesIt) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(quiet_bank(5));
  sql("BEGIN; UPDATE holder SET cents = cents; PREPARE TRANSACTION 'forgotten'");
  EXPECT_EQ(verify({"--timeout", "1"}), kCouldNotSay) << said_;
  EXPECT_NE(said_.find("forgotten"), std::string::npos) << said_;
  sql("ROLLBACK PREPARED 'forgotten'");
  EXPECT_EQ(verify(), kEqual) << said_;
}

// A snapshot does not outlive TRUNCATE: both sides would be empty, and equal.
TEST_F(VerifyReadModel, OfATableThatWasTruncatedMeanwhileCouldNotSay) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(quiet_bank(5));
  const auto truncate_meanwhile = [&](bool source) {
    const auto held = start_verify({}, "verify.after_release=stop");
    ASSERT_TRUE(dev::wait_until([&] { return held->stopped(); }, kPatience)) << held->log();
    if (source) sql("TRUNCATE holder CASCADE");
    target_sql("TRUNCATE account");
    held->resume();
    EXPECT_EQ(held->wait(kPatience), kCouldNotSay) << held->log();
    const auto named =
        source ? "holder of the source was truncated" : "account of the target was truncated";
    EXPECT_NE(held->log().find(named), std::string::npos) << held->log();
  };
  ASSERT_NO_FATAL_FAILURE(truncate_meanwhile(false));
  ASSERT_EQ(verify(), kDiffers) << said_;
  ASSERT_NO_FATAL_FAILURE(truncate_meanwhile(true));
  EXPECT_EQ(verify(), kEqual) << said_;
}

TEST_F(VerifyReadModel, OfATableThatGotAPartitionMeanwhileIsSaid) {
  const std::string dated = R"toml(
[[verify]]
source = "SELECT 'rows' AS key, count(*) AS n FROM dated"
target = "SELECT 'rows' AS key, 1::bigint AS n"
key = ["key"]
)toml";
  sql("CREATE TABLE dated (day date) PARTITION BY RANGE (day); "
      "CREATE TABLE dated_1 PARTITION OF dated FOR VALUES FROM ('2026-01-01') TO ('2026-01-02'); "
      "INSERT INTO dated VALUES ('2026-01-01'); GRANT SELECT ON dated TO relay");
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(quiet_bank(5));
  const auto held = start_verify({}, "verify.after_release=stop", "verify", dated);
  ASSERT_TRUE(dev::wait_until([&] { return held->stopped(); }, kPatience)) << held->log();
  sql("CREATE TABLE dated_2 PARTITION OF dated FOR VALUES FROM ('2026-01-02') TO ('2026-01-03'); "
      "INSERT INTO dated VALUES ('2026-01-02')");
  held->resume();
  EXPECT_EQ(held->wait(kPatience), kEqual) << held->log();
}

TEST_F(VerifyReadModel, KilledWhileItWaitsForAnOpenWriterLeavesNoSlotBehind) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(quiet_bank(5));
  const auto slots = [&] {
    return sql(
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'postrider_verify%'");
  };
  sql("BEGIN; UPDATE holder SET cents = cents; PREPARE TRANSACTION 'forgotten'");
  const auto doomed = start_verify({"--timeout", "3"});
  ASSERT_TRUE(dev::wait_until([&] { return slots() == "1"; }, kPatience)) << doomed->log();
  doomed->kill();
  EXPECT_TRUE(dev::wait_until([&] { return slots() == "0"; }, kPatience));
  sql("ROLLBACK PREPARED 'forgotten'");
}

TEST_F(VerifyReadModel, KilledWhileTheServersHashEndsThem) {
  const std::string slow = R"toml(
[[verify]]
source = "SELECT name AS key FROM holder, pg_sleep(3600)"
target = "SELECT key FROM account, pg_sleep(3600)"
key = ["key"]
)toml";
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_NO_FATAL_FAILURE(quiet_bank(5));
  const std::string hashing =
      "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
      "application_name = 'postrider verify' AND query LIKE '%pg_sleep(3600)%'";
  const auto doomed = start_verify({}, {}, "verify", slow);
  ASSERT_TRUE(
      dev::wait_until([&] { return sql(hashing) == "1" && target_sql(hashing) == "1"; }, kPatience))
      << doomed->log();
  doomed->kill();
  EXPECT_TRUE(dev::wait_until([&] { return sql(hashing) == "0" && target_sql(hashing) == "0"; },
                              kPatience));
}

TEST_F(VerifyReadModel, RefusesAQueryThatAServerRefusesBeforeItHoldsAnybody) {
  const std::string broken = R"(
[[verify]]
source = "SELECT name FROM holder"
target = "SELECT nonsense FROM account"
key = ["name"]
)";
  constexpr int kConfiguration = 78;
  EXPECT_EQ(verify({}, broken), kConfiguration) << said_;
  EXPECT_NE(said_.find("nonsense"), std::string::npos) << said_;
}

}  // namespace
}  // namespace postrider::test
