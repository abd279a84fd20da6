// The judges that look while a round runs and at its end, each fed with what is right and with what
// is wrong in one way.
#include <gtest/gtest.h>

#include "tests/faults/campaign/content_checker.h"
#include "tests/faults/campaign/fleet.h"
#include "tests/faults/campaign/observer.h"
#include "tests/faults/campaign/prober.h"
#include "tests/faults/campaign/quiet_checker.h"

namespace postrider::campaign {
namespace {

class ContentCheckerTest : public ::testing::Test {
 protected:
  static test::StreamMessage message(int ordinal, const std::string& data, std::uint64_t seq) {
    test::StreamMessage made;
    made.seq = seq;
    made.subject = "shop.w1.made";
    made.headers = {{"Postrider-Position", "v1 " + std::to_string(ordinal) +
                                               " 00000001/0000000000000010/00000000 1 1 1"}};
    made.data = data;
    return made;
  }
  ContentChecker checker_;
};

TEST_F(ContentCheckerTest, AcceptsWhatWasLostAndPublishedAgainAsItWas) {
  checker_.see(message(1, "a", 1));
  checker_.see(message(2, "b", 2));
  checker_.see(message(2, "b", 2));
  checker_.see(message(2, "b", 9));
  EXPECT_TRUE(checker_.problems().empty()) << "at another sequence, too";
}

TEST_F(ContentCheckerTest, NamesAnOrdinalWithTwoContents) {
  checker_.see(message(2, "b", 2));
  checker_.see(message(1, "a", 1));
  checker_.see(message(2, "c", 7));
  ASSERT_EQ(checker_.problems().size(), 1U);
  EXPECT_NE(checker_.problems()[0].find("ordinal 2 "), std::string::npos);
  EXPECT_NE(checker_.problems()[0].find("sequence 7"), std::string::npos);
}

TEST_F(ContentCheckerTest, NamesAnOrdinalWhoseHeadersChanged) {
  auto other = message(1, "a", 1);
  checker_.see(other);
  other.headers.emplace_back("Postrider-Key", "k1");
  checker_.see(other);
  EXPECT_EQ(checker_.problems().size(), 1U);
}

TEST(ObserverTest, NamesReadsThatAreNotOfOneMomentOrGoBack) {
  const ModelRead before{0, 100, 100, 100, 0, 90};
  EXPECT_EQ(torn_read(before, before), "");
  EXPECT_EQ(torn_read(before, {0, 120, 120, 120, 0, 90}), "");
  EXPECT_NE(torn_read(before, {5, 120, 120, 120, 0, 90}), "") << "half a transaction";
  EXPECT_NE(torn_read(before, {0, 121, 120, 120, 0, 90}), "") << "an event twice";
  EXPECT_NE(torn_read(before, {0, 120, 121, 120, 0, 90}), "") << "a batch twice";
  EXPECT_NE(torn_read(before, {0, 90, 90, 90, 0, 90}), "") << "the tally went back";
  EXPECT_NE(torn_read(before, {0, 100, 100, 100, 7, 90}), "") << "half a transfer in the copy";
  EXPECT_NE(torn_read(before, {0, 100, 100, 100, 0, 80}), "") << "the copy went back";
}

TEST(ObserverTest, NamesConfirmationsOfWhatTheBrokerMayNotHaveSynced) {
  const std::vector<Mark> marks = {{100, 1'000'000, 10}, {200, 2'000'000, 20}};
  constexpr std::uint64_t kSync = 500'000;
  EXPECT_TRUE(confirmed_early({{100, 0}}, marks, kSync).empty()) << "nothing is forgotten";
  EXPECT_TRUE(confirmed_early({{150, 1'500'000}, {250, 2'600'000}}, marks, kSync).empty());
  EXPECT_EQ(confirmed_early({{150, 1'400'000}}, marks, kSync).size(), 1U);
  EXPECT_EQ(confirmed_early({{250, 2'000'001}}, marks, kSync).size(), 1U);
  EXPECT_EQ(confirmed_early({{250, 1'900'000}}, marks, kSync).size(), 1U) << "stored afterwards";
}

TEST(ObserverTest, AcceptsACheckpointThatRisesAndASlotThatFallsBack) {
  const SourceRead before{300, 400, 10, 2};
  EXPECT_TRUE(source_problems({}, before).empty());
  EXPECT_TRUE(source_problems(before, before).empty());
  EXPECT_TRUE(source_problems(before, SourceRead{400, 400, 11, 3}).empty());
  EXPECT_TRUE(source_problems(before, SourceRead{200, 400, 10, 3}).empty()) << "after a crash";
  EXPECT_TRUE(source_problems({}, SourceRead{300, 0, 0, 1}).empty()) << "a new slot";
}

TEST(ObserverTest, NamesACheckpointThatFalls) {
  const SourceRead before{300, 400, 10, 2};
  EXPECT_EQ(source_problems(before, SourceRead{300, 400, 9, 2}).size(), 1U) << "ordinal";
  EXPECT_EQ(source_problems(before, SourceRead{300, 400, 10, 1}).size(), 1U) << "session";
  EXPECT_EQ(source_problems(before, SourceRead{300, 399, 10, 2}).size(), 1U) << "confirm_to";
}

TEST(ObserverTest, NamesASlotBeyondTheCheckpointAndOneThatIsGone) {
  EXPECT_EQ(source_problems({}, SourceRead{401, 400, 10, 2}).size(), 1U);
  EXPECT_EQ(source_problems({}, std::nullopt).size(), 1U);
}

TEST(ProberTest, NamesATokenThatIsReachedBeforeBothReadModelsShowItsCommit) {
  EXPECT_EQ(reached_early(true, 2, 7), "");
  EXPECT_EQ(reached_early(false, 0, 7), "");
  EXPECT_EQ(reached_early(false, 2, 7), "") << "shown before it is known to be";
  EXPECT_NE(reached_early(true, 1, 7).find("marker 7 "), std::string::npos);
  EXPECT_NE(reached_early(true, 0, 7), "");
}

TEST(FleetTest, NamesMemoryFilesAndThreadsBeyondTheirLimits) {
  constexpr std::uint64_t kKib = 256UL * 1024;
  EXPECT_EQ(beyond_limits(Role::kRelay, {}, false), "");
  EXPECT_EQ(beyond_limits(Role::kRelay, {kKib, 64, 32}, false), "");
  EXPECT_EQ(beyond_limits(Role::kRelay, {kKib + 1, 64, 32}, true), "") << "a sanitizer's";
  EXPECT_TRUE(beyond_limits(Role::kRelay, {kKib + 1, 64, 32}, false).starts_with("a relay took "));
  EXPECT_TRUE(beyond_limits(Role::kApplier, {kKib, 65, 32}, false).starts_with("an applier took "));
  EXPECT_NE(beyond_limits(Role::kApplier, {kKib, 64, 33}, false), "");
  EXPECT_NE(beyond_limits(Role::kApplier, {kKib, 64, 33}, true), "");
}

TEST(FleetTest, NamesAProcessThatEndsAsItMustNot) {
  constexpr int kKilled = 137;
  constexpr int kAborted = 134;
  EXPECT_EQ(unexpected_end("relay-a", kKilled, {kKilled}), "");
  EXPECT_EQ(unexpected_end("relay-a", 0, {kKilled, 0}), "");
  EXPECT_EQ(unexpected_end("relay-a", kAborted, {kKilled, 0}), "relay-a ended with 134");
  EXPECT_NE(unexpected_end("relay-a", 0, {}), "") << "by itself";
  EXPECT_NE(unexpected_end("relay-a", kKilled, {0}), "") << "on SIGTERM";
}

TEST(QuietCheckerTest, NamesAReplicaThatMissesARowOrHasAnother) {
  const TableRows source{"400", "-12345678901234567890"};
  EXPECT_EQ(replica_differs("account", source, source), "");
  EXPECT_NE(replica_differs("account", source, {"399", source.hash}).find("account"),
            std::string::npos);
  EXPECT_NE(replica_differs("account", source, {"400", "-12345678901234567891"}), "");
}

TEST(QuietCheckerTest, NamesASlotThatNobodyHasOrThatDoesNotMove) {
  EXPECT_EQ(left_behind({true, 500, 500}, 500), "");
  EXPECT_EQ(left_behind({true, 502, 501}, 500), "");
  EXPECT_NE(left_behind({true, 499, 450}, 500).find("confirmed to 499"), std::string::npos);
  EXPECT_NE(left_behind({true, 510, 499}, 500).find("retains WAL from 499"), std::string::npos);
  EXPECT_NE(left_behind({false, 501, 501}, 500), "");
  EXPECT_NE(left_behind({}, 500), "") << "gone";
}

}  // namespace
}  // namespace postrider::campaign
