// How long a source stands still when its relay's process or host dies. With the defaults of every
// setting: what is promised is what an operator gets who sets nothing.
#include <chrono>
#include <iostream>

#include "tests/support/link.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{60'000};
constexpr milliseconds kPromise = milliseconds{5'000} * dev::kSlowness;
constexpr int kRounds = 3;

class HighAvailability : public World {
 protected:
  HighAvailability() : to_postgres_(postgres_.options().port), to_nats_(nats_.options().port) {}

  // Every connection of this relay's host goes over links that can be cut.
  Settings on_its_own_host() {
    return {{"source.conninfo", "\"host=127.0.0.1 port=" + std::to_string(to_postgres_.port()) +
                                    " user=relay dbname=shop\""},
            {"nats.url", "\"nats://127.0.0.1:" + std::to_string(to_nats_.port()) + "\""}};
  }
  void cut(bool cut) {
    to_postgres_.cut(cut);
    to_nats_.cut(cut);
  }
  Workload::Options light() {
    auto options = writers();
    options.wal_store = false;
    options.writers = 2;
    options.pause = milliseconds{5};
    return options;
  }
  static bool says(const RelayProcess& relay, const std::string& text) {
    return dev::wait_until([&] { return relay.log().find(text) != std::string::npos; }, kPatience);
  }
  // Commits an event now, and returns how long it took until the stream held it.
  milliseconds time_to_next_event() {
    const auto start = Clock::now();
    const std::string subject = "marker.n" + std::to_string(++markers_);
    sql("INSERT INTO written SELECT outbox.emit('" + subject + "', '1'), '" + subject + "', '1'");
    EXPECT_TRUE(dev::wait_until(
        [&] {
          try {
            nats_client().api(std::string("STREAM.MSG.GET.") + kStream,
                              {{"last_by_subj", std::string(kSource) + "." + subject}});
            return true;
          } catch (const std::runtime_error&) {
            return false;  // not there yet
          }
        },
        kPatience));
    return std::chrono::duration_cast<milliseconds>(Clock::now() - start);
  }
  void expect_quick(milliseconds took) {
    EXPECT_LT(took, kPromise);
    slowest_ = std::max(slowest_, took);
    RecordProperty("slowest_ms", std::to_string(slowest_.count()));
    std::cout << "next event after " << took.count() << " ms\n";
  }
  // The stream holds everything once and in order.
  void expect_exact() {
    catch_up({});
    const auto found = verdict();
    EXPECT_TRUE(found.good()) << found;
  }

  Link to_postgres_;
  Link to_nats_;

 private:
  int markers_ = 0;
  milliseconds slowest_{0};
};

TEST_F(HighAvailability, AStandbyCarriesOnWithinFiveSecondsOfAKill) {
  auto owner = start_relay({}, {}, "a");
  ASSERT_TRUE(says(*owner, "starts after ordinal")) << owner->log();
  Workload workload(light());
  for (int round = 0; round < kRounds; ++round) {
    auto standby = start_relay({}, {}, round % 2 == 0 ? "b" : "a");
    ASSERT_TRUE(says(*standby, "standing by")) << standby->log();
    (void)time_to_next_event();
    owner->kill();
    expect_quick(time_to_next_event());
    owner = std::move(standby);
  }
  owner->terminate();
  workload.stop();
  ASSERT_EQ(owner->wait(kPatience), 0);
  expect_exact();
}

TEST_F(HighAvailability, AStandbyCarriesOnWithinFiveSecondsOfAFreeze) {
  auto owner = start_relay({}, {}, "a");
  ASSERT_TRUE(says(*owner, "starts after ordinal")) << owner->log();
  auto standby = start_relay({}, {}, "b");
  Workload workload(light());
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(says(*standby, "standing by")) << standby->log();
    (void)time_to_next_event();
    owner->pause();
    expect_quick(time_to_next_event());
    owner->resume();
    // It wakes with a window half sent and a connection that has gone, and stands by.
    const auto before = owner->log().size();
    ASSERT_TRUE(dev::wait_until(
        [&] { return owner->log().find("standing by", before) != std::string::npos; }, kPatience))
        << owner->log();
    EXPECT_LT(time_to_next_event(), kPromise) << "the one that woke does no harm";
    std::swap(owner, standby);
  }
  owner->terminate();
  standby->terminate();
  workload.stop();
  ASSERT_EQ(owner->wait(kPatience), 0);
  ASSERT_EQ(standby->wait(kPatience), 0);
  expect_exact();
}

// The lock and the slot stay held by connections that nobody is at the other end of.
TEST_F(HighAvailability, AStandbyCarriesOnWithinFiveSecondsOfALostHost) {
  const auto on_host = start_relay(on_its_own_host(), {}, "host");
  ASSERT_TRUE(says(*on_host, "starts after ordinal")) << on_host->log();
  Workload workload(light());
  for (int round = 0; round < kRounds; ++round) {
    const auto standby = start_relay({}, {}, "standby");
    ASSERT_TRUE(says(*standby, "standing by")) << standby->log();
    (void)time_to_next_event();
    ASSERT_EQ(sql("SELECT count(*) FROM pg_stat_activity WHERE pid IN (SELECT active_pid FROM "
                  "pg_replication_slots WHERE slot_name LIKE 'postrider%') AND client_addr IS NOT "
                  "NULL"),
              "1")
        << "the relay of the host must be the owner";
    cut(true);
    expect_quick(time_to_next_event());
    const auto before = on_host->log().size();
    cut(false);
    ASSERT_TRUE(dev::wait_until(
        [&] { return on_host->log().find("standing by", before) != std::string::npos; }, kPatience))
        << on_host->log();
    standby->kill();  // back to the host's
    EXPECT_LT(time_to_next_event(), kPromise);
  }
  on_host->terminate();
  workload.stop();
  ASSERT_EQ(on_host->wait(kPatience), 0);
  expect_exact();
}

// One way only: the server goes on sending to a host that cannot hear it.
TEST_F(HighAvailability, AStandbyCarriesOnWhenOnlyPostgresIsOutOfReach) {
  const auto on_host = start_relay(on_its_own_host(), {}, "host");
  ASSERT_TRUE(says(*on_host, "starts after ordinal")) << on_host->log();
  const auto standby = start_relay({}, {}, "standby");
  ASSERT_TRUE(says(*standby, "standing by")) << standby->log();
  Workload workload(light());
  (void)time_to_next_event();
  to_postgres_.cut(true);
  expect_quick(time_to_next_event());
  // Mended only after the old owner has noticed by itself.
  EXPECT_TRUE(says(*on_host, "session ended") || says(*on_host, "lost the ownership"))
      << on_host->log();
  const auto before = on_host->log().size();
  to_postgres_.cut(false);
  ASSERT_TRUE(dev::wait_until(
      [&] { return on_host->log().find("standing by", before) != std::string::npos; }, kPatience))
      << on_host->log();
  workload.stop();
  on_host->kill();
  standby->kill();
  expect_exact();
}

// Its heartbeat is lost and it cannot know; what its sessions need goes on.
TEST_F(HighAvailability, AnOwnerOfWhomOnlyTheLocksConnectionIsCutLeavesTheStandbyAlone) {
  const auto on_host = start_relay(on_its_own_host(), {}, "host");
  ASSERT_TRUE(says(*on_host, "starts after ordinal")) << on_host->log();
  const auto standby = start_relay({}, {}, "standby");
  ASSERT_TRUE(says(*standby, "standing by")) << standby->log();
  Workload workload(light());
  (void)time_to_next_event();
  to_postgres_.cut_one(static_cast<std::uint16_t>(
      std::stoi(sql("SELECT client_port FROM pg_stat_activity WHERE application_name = "
                    "'postrider lock shop' AND client_addr IS NOT NULL"))));
  expect_quick(time_to_next_event());
  EXPECT_TRUE(says(*on_host, "lost the ownership")) << on_host->log();
  const auto log = standby->log();
  const auto first = log.find("starts after ordinal");
  ASSERT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("starts after ordinal", first + 1), std::string::npos) << log;
  (void)time_to_next_event();
  workload.stop();
  on_host->kill();
  standby->kill();
  expect_exact();
}

}  // namespace
}  // namespace postrider::test
