// A read model while everything around it dies: each source transaction applied once, whole, in
// order, in every read.
#include <random>

#include "tests/support/readmodel_world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};

class ReadModel : public ReadModelWorld {
 protected:
  // Everything that was committed is in the stream afterwards.
  void finish(RelayProcess& relay) {
    relay.terminate();
    ASSERT_TRUE(relay.wait(kPatience).has_value()) << relay.log();
    catch_up();
  }
  // After everything runs again: the read model is what the stream and the source say.
  void expect_exact() {
    const auto last = last_seq();
    ASSERT_TRUE(wait_for_applied(last)) << "applied " << applied_ordinal() << " of " << last;
    EXPECT_EQ(accounts(), expected_accounts());
    EXPECT_EQ(target_sql("SELECT string_agg(key || ' ' || balance, ',' ORDER BY key) FROM account"),
              sql("SELECT string_agg(name || ' ' || cents, ',' ORDER BY name) FROM holder WHERE "
                  "name IN (SELECT key FROM outbox.events) OR cents <> 0"));
  }
};

TEST_F(ReadModel, OfABankIsConstantInEveryReadWhileEachPartIsKilled) {
  auto relay = start_relay(quick());
  auto applier = start_applier();
  Bank bank(conninfo("app"), 3);
  BankReader reader(target_conninfo("app"));
  std::mt19937 random(20261125);
  constexpr int kRounds = 12;
  for (int round = 0; round < kRounds; ++round) {
    bank.wait_for_more(static_cast<long>(20 + random() % 60));
    switch (round % 5) {
      case 0:
        applier->kill();
        applier = start_applier();
        break;
      case 1:
        relay->kill();
        relay = start_relay(quick());
        break;
      case 2:
        ASSERT_TRUE(target_.stop(dev::Shutdown::kKill));
        target_.start();
        break;
      case 3:
        ASSERT_TRUE(nats_.stop(/*kill=*/true));
        nats_.start();
        break;
      default:
        ASSERT_TRUE(postgres_.stop(dev::Shutdown::kKill));
        postgres_.start();
        break;
    }
    const auto before = applied_ordinal();
    ASSERT_TRUE(wait_for_applied(before + 50)) << "round " << round << "\n"
                                               << relay->log() << applier->log();
  }
  bank.stop();
  ASSERT_NO_FATAL_FAILURE(finish(*relay));
  expect_exact();
  EXPECT_EQ(reader.stop(), "");
  EXPECT_GT(reader.reads(), 100);
  EXPECT_GT(applied_ordinal(), 1500U);
}

class ReadModelCrashAt : public ReadModel, public ::testing::WithParamInterface<std::string> {};

TEST_P(ReadModelCrashAt, AppliesNothingTwiceAndLeavesNothingOut) {
  const auto relay = start_relay(quick());
  Bank bank(conninfo("app"), 2);
  BankReader reader(target_conninfo("app"));
  for (const int pass : {1, 3}) {
    auto applier = start_applier(GetParam() + "=kill@" + std::to_string(pass), "doomed");
    ASSERT_TRUE(applier->wait(kPatience).has_value()) << "the failpoint was never passed";
  }
  bank.wait_for_more(50);
  auto applier = start_applier();
  bank.wait_for_more(50);
  bank.stop();
  ASSERT_NO_FATAL_FAILURE(finish(*relay));
  expect_exact();
  EXPECT_EQ(reader.stop(), "");
}

INSTANTIATE_TEST_SUITE_P(Failpoints, ReadModelCrashAt,
                         ::testing::Values("apply.before_begin", "apply.after_cursor",
                                           "apply.before_commit", "apply.after_commit"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (auto& c : name)
                             if (c == '.') c = '_';
                           return name;
                         });

TEST_F(ReadModel, WithTwoAppliersIsMovedByOneAtATime) {
  const auto relay = start_relay(quick());
  Bank bank(conninfo("app"), 2);
  BankReader reader(target_conninfo("app"));
  auto owner = start_applier({}, "first");
  ASSERT_TRUE(wait_for_applied(100));
  for (int round = 0; round < 3; ++round) {
    auto standby = start_applier({}, "next");
    ASSERT_TRUE(dev::wait_until(
        [&] { return standby->log().find("standing by") != std::string::npos; }, kPatience))
        << standby->log();
    owner->kill();
    const auto before = applied_ordinal();
    ASSERT_TRUE(wait_for_applied(before + 100)) << standby->log();
    owner = std::move(standby);
  }
  bank.stop();
  ASSERT_NO_FATAL_FAILURE(finish(*relay));
  expect_exact();
  EXPECT_EQ(reader.stop(), "");
}

// Stopped between the cursor's move and the commit: its transaction is open, and holds the row.
TEST_F(ReadModel, WhoseApplierIsPausedPastATakeoverAndWokenIsExact) {
  const auto relay = start_relay(quick());
  Bank bank(conninfo("app"), 2);
  BankReader reader(target_conninfo("app"));
  const std::string soon = "takeover_after = \"1s\"";
  const auto paused = start_applier("apply.before_commit=stop@5", "paused", soon);
  ASSERT_TRUE(dev::wait_until([&] { return paused->stopped(); }, kPatience)) << paused->log();
  const auto before = applied_ordinal();
  const auto next = start_applier({}, "next", soon);
  ASSERT_TRUE(wait_for_applied(before + 200)) << next->log();
  EXPECT_NE(next->log().find("taking over"), std::string::npos);
  paused->resume();
  // Woken, it notices that it is no longer the applier, and stands by.
  ASSERT_TRUE(dev::wait_until(
      [&] { return paused->log().find("standing by") != std::string::npos; }, kPatience))
      << paused->log();
  ASSERT_TRUE(wait_for_applied(applied_ordinal() + 100));
  bank.stop();
  ASSERT_NO_FATAL_FAILURE(finish(*relay));
  expect_exact();
  EXPECT_EQ(reader.stop(), "");
}

// Larger than the memory that it may take: applied in pieces, seen whole or not at all.
TEST_F(ReadModel, OfATransactionLargerThanMemoryIsSeenWholeOrNotAtAll) {
  const auto relay = start_relay(quick());
  constexpr long kTransfers = 20'000;
  sql("SELECT count(transfer('h' || g % 10, 'h' || (10 + g % 10), 1, 'table')) FROM "
      "generate_series(1, " +
      std::to_string(kTransfers) + ") g");
  ASSERT_TRUE(wait_for_seq(2 * kTransfers));
  BankReader reader(target_conninfo("app"));
  const std::string small = "batch_bytes = 262144";
  auto doomed = start_applier("apply.between_pieces=kill@3", "doomed", small);
  ASSERT_TRUE(doomed->wait(kPatience).has_value()) << "it was never applied in pieces";
  EXPECT_EQ(applied_ordinal(), 0U);
  EXPECT_EQ(target_sql("SELECT count(*) FROM account"), "0");
  const auto applier = start_applier({}, "apply", small);
  ASSERT_TRUE(wait_for_applied(2 * kTransfers)) << applier->log();
  constexpr std::uint64_t kMost = 48UL * 1024;
  if (!dev::kSanitized) {  // it has memory of its own
    EXPECT_LT(applier->peak_resident_kib(), kMost);
  }
  EXPECT_EQ(accounts(), expected_accounts());
  EXPECT_EQ(reader.stop(), "");
}

}  // namespace
}  // namespace postrider::test
