// A stream that is kept by age removes what a read model still needs: nobody finds out by surprise.
#include <nlohmann/json.hpp>

#include "tests/support/ledger.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;
constexpr std::chrono::milliseconds kPatience{60'000};

class Retention : public LedgerWorld {
 protected:
  void keep_for(long seconds) {
    auto client = nats_client();
    auto config = client.api(std::string("STREAM.INFO.") + kStream)["config"];
    config["max_age"] = seconds * 1'000'000'000L;
    config["duplicate_window"] = config["max_age"];
    client.api(std::string("STREAM.UPDATE.") + kStream, config);
  }
  [[nodiscard]] Json state() {
    return nats_client().api(std::string("STREAM.INFO.") + kStream)["state"];
  }
  [[nodiscard]] bool gone_up_to(std::uint64_t seq) {
    return dev::wait_until([&] { return state()["first_seq"].get<std::uint64_t>() > seq; },
                           kPatience);
  }
  Json status() {
    exit_ = postrider({"status", "--config", (folder_ / "ledger.toml").string(), "--json"});
    return Json::parse(output())["readmodels"][0];
  }
  // Stopped at ordinal 2 of 3.
  std::unique_ptr<RelayProcess> stopped_applier() {
    catch_up();
    EXPECT_EQ(command({"--until-caught-up"}), 0) << output();
    applier_sql(
        "CREATE OR REPLACE FUNCTION ledger.refuse(e postrider.event) RETURNS void LANGUAGE "
        "plpgsql AS $$ BEGIN IF e.key = 'x' THEN RAISE 'bad x'; END IF; END $$");
    emit({"a", "x", "b"});
    catch_up();
    auto applier = apply();
    EXPECT_TRUE(target_says("SELECT first_ordinal FROM postrider.stopped", "2")) << applier->log();
    return applier;
  }
  int exit_ = 0;
};

TEST_F(Retention, WarnsWhileAStoppedReadModelNearsTheStreamsStart) {
  (void)ledger_config("retention_warning_percent = 1");
  const auto applier = stopped_applier();
  EXPECT_EQ(status()["nears_stream_start"], false) << output();
  keep_for(100);  // 1 percent of it is a second
  ASSERT_TRUE(dev::wait_until(
      [&] { return applier->log().find("retention will soon remove") != std::string::npos; },
      kPatience))
      << applier->log();
  ASSERT_TRUE(dev::wait_until([&] { return status()["nears_stream_start"] == true; }, kPatience))
      << output();
  EXPECT_EQ(exit_, 1);
  applier_sql(
      "CREATE OR REPLACE FUNCTION ledger.refuse(e postrider.event) RETURNS void LANGUAGE "
      "plpgsql AS $$ BEGIN END $$");
  ASSERT_EQ(command({"retry", "ledger"}), 0) << output();
  ASSERT_TRUE(applied(3));
  EXPECT_EQ(status()["nears_stream_start"], false) << "caught up, nothing is needed any more";
  EXPECT_EQ(exit_, 1) << "no relay runs";
  EXPECT_EQ(status()["problems"].size(), 0U) << output();
}

TEST_F(Retention, HaltsAStoppedReadModelThatItHasOvertaken) {
  const auto applier = stopped_applier();
  keep_for(1);
  ASSERT_TRUE(gone_up_to(2));
  EXPECT_EQ(applier->wait(kPatience), 40) << applier->log();
  EXPECT_NE(applier->log().find("stream_behind"), std::string::npos) << applier->log();
  EXPECT_NE(applier->log().find("postrider apply rebuild"), std::string::npos) << applier->log();
  const auto report = status();
  EXPECT_EQ(report["state"], "behind") << report;
  EXPECT_EQ(exit_, 1);
}

TEST_F(Retention, HaltsAReadModelThatWasAwayTooLong) {
  emit({"a"});
  catch_up();
  ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
  emit({"b"});
  catch_up();
  keep_for(1);
  ASSERT_TRUE(gone_up_to(2));
  EXPECT_EQ(command({"--until-caught-up"}), 40) << output();
  EXPECT_NE(output().find("postrider apply rebuild"), std::string::npos) << output();
  emit({"c"});
  catch_up();
  EXPECT_EQ(command({"--until-caught-up"}), 40) << output();
}

TEST_F(Retention, NeedsNobodyWhenEverythingGoneWasApplied) {
  emit({"a", "b"});
  catch_up();
  ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
  keep_for(1);
  ASSERT_TRUE(gone_up_to(2));
  ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
  keep_for(3600);
  emit({"c"});
  catch_up();
  ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
  EXPECT_EQ(target_sql("SELECT string_agg(key, '' ORDER BY ordinal) FROM ledger.entry"), "abc");
}

TEST_F(Retention, LeavesNothingToRebuildFrom) {
  emit({"a", "b"});
  catch_up();
  ASSERT_EQ(command({"--until-caught-up"}), 0) << output();
  keep_for(1);
  ASSERT_TRUE(gone_up_to(2));
  EXPECT_EQ(command({"rebuild", "ledger"}), 40) << output();
  EXPECT_NE(output().find("no longer holds any"), std::string::npos) << output();
  keep_for(3600);
  emit({"c"});
  catch_up();
  EXPECT_EQ(command({"rebuild", "ledger"}), 40) << output();
  EXPECT_NE(output().find("begins with ordinal 3"), std::string::npos) << output();
  EXPECT_NE(output().find("Retention"), std::string::npos) << output();
  EXPECT_EQ(target_sql("SELECT string_agg(key, '' ORDER BY ordinal) FROM ledger.entry"), "ab");
  ASSERT_EQ(command({"--until-caught-up"}), 0) << "the live one is not touched: " << output();
}

}  // namespace
}  // namespace postrider::test
