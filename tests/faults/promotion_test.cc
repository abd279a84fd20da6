// A standby was promoted: the server goes on on a new timeline, with or without commits that were
// carried. Recovery of the same data folder to its end does what a promotion does.
#include <fstream>

#include "tests/support/world.h"

namespace postrider::test {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPatience{30'000};
constexpr int kTimelineDiverged = 22;

class Promotion : public World {
 protected:
  Promotion() { sql("ALTER SYSTEM SET restore_command = 'false'"); }
  void emit(int events) {
    app_sql("SELECT count(outbox.emit('e', to_jsonb(g))) FROM generate_series(1, " +
            std::to_string(events) + ") g");
  }
  // Of a server that is stopped.
  void promote() {
    std::ofstream(postgres_.options().data / "recovery.signal").close();
    postgres_.start();
    ASSERT_TRUE(
        dev::wait_until([&] { return sql("SELECT pg_is_in_recovery()") == "f"; }, kPatience));
    ASSERT_EQ(sql("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"), "00000002");
  }
};

TEST_F(Promotion, WithAllThatWasCarriedTheRelayGoesOn) {
  catch_up(unconfirmed());
  const auto relay = start_relay(unconfirmed());
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << relay->log();
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast));
  ASSERT_NO_FATAL_FAILURE(promote());
  emit(10);
  ASSERT_TRUE(wait_for_seq(20, kPatience)) << relay->log();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  auto client = nats_client();
  const auto stream = client.read_stream(kStream);
  // Each position names the timeline that owns its commit.
  EXPECT_TRUE(stream[9].header("Postrider-Position")->starts_with("v1 10 00000001/"));
  EXPECT_TRUE(stream[10].header("Postrider-Position")->starts_with("v1 11 00000002/"));
}

TEST_F(Promotion, WithoutCommitsThatWereCarriedTheRelayHalts) {
  emit(10);
  catch_up(unconfirmed());
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast));
  const auto data = postgres_.options().data;
  ASSERT_EQ(
      dev::run({{"cp", "-a", data.string(), (folder_ / "standby").string()}, {}, {}, {}, false}),
      0);
  postgres_.start();
  emit(500);
  catch_up(unconfirmed());
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast));
  fs::remove_all(data);
  fs::rename(folder_ / "standby", data);
  ASSERT_NO_FATAL_FAILURE(promote());
  emit(1000);
  const auto relay = start_relay(unconfirmed(), {}, "halting");
  EXPECT_EQ(relay->wait(kPatience), kTimelineDiverged) << relay->log();
  EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
  EXPECT_EQ(last_seq(), 510U) << "nothing of the new timeline may be published";
}

}  // namespace
}  // namespace postrider::test
