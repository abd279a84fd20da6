#include "readmodel/progress/coverage.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

CoverageNotice notice(std::uint64_t ordinal, std::uint64_t lsn, const char* incarnation = "A") {
  CoverageNotice n;
  n.system_id = "7";
  n.timeline = 1;
  n.lsn = Lsn{lsn};
  n.incarnation = incarnation;
  n.ordinal = ordinal;
  n.position = {1, Lsn{ordinal * 10}, 0, std::nullopt};
  return n;
}
Cursor cursor(std::uint64_t ordinal) {
  return {"A", ordinal, ordinal, {1, Lsn{ordinal * 10}, 0, std::nullopt}, {}, 1};
}
std::uint64_t reached(Coverage& coverage, std::uint64_t ordinal) {
  const auto taken = coverage.take_reached(cursor(ordinal));
  return taken ? taken->lsn.value : 0;
}

TEST(Coverage, ANoticeCountsOnceItsOrdinalIsApplied) {
  Coverage coverage;
  coverage.on_notice(notice(5, 100));
  EXPECT_EQ(reached(coverage, 4), 0U);
  EXPECT_EQ(reached(coverage, 5), 100U);
  EXPECT_EQ(reached(coverage, 5), 0U) << "it says nothing new a second time";
}

TEST(Coverage, TheNewestReachedNoticeIsTakenAndALaterOneWaits) {
  Coverage coverage;
  coverage.on_notice(notice(5, 100));
  coverage.on_notice(notice(6, 120));
  coverage.on_notice(notice(9, 200));
  EXPECT_EQ(reached(coverage, 7), 120U);
  EXPECT_EQ(reached(coverage, 9), 200U);
}

TEST(Coverage, ARepeatedOrOlderNoticeSaysNothing) {
  Coverage coverage;
  coverage.on_notice(notice(5, 100));
  EXPECT_EQ(reached(coverage, 5), 100U);
  coverage.on_notice(notice(5, 100));
  EXPECT_EQ(reached(coverage, 5), 0U);
  coverage.on_notice(notice(5, 90));
  EXPECT_EQ(reached(coverage, 5), 0U);
  coverage.on_notice(notice(5, 110));
  EXPECT_EQ(reached(coverage, 5), 110U);
}

// The batch that wrote it may be refused at its commit.
TEST(Coverage, ANoticeThatWasOnlyLookedAtIsStillThere) {
  Coverage coverage;
  coverage.on_notice(notice(5, 100));
  coverage.on_notice(notice(8, 120));
  EXPECT_FALSE(coverage.reached(cursor(4)));
  ASSERT_TRUE(coverage.reached(cursor(8)));
  EXPECT_EQ(coverage.reached(cursor(8))->lsn.value, 120U);
  EXPECT_EQ(coverage.covered().value, 0U);
  EXPECT_EQ(reached(coverage, 5), 100U) << "a shorter batch, after the refusal";
  EXPECT_EQ(reached(coverage, 8), 120U);
  EXPECT_FALSE(coverage.reached(cursor(8)));
}

TEST(Coverage, ANoticeOfAnotherStreamIsNotBelieved) {
  Coverage coverage;
  coverage.on_notice(notice(5, 100, "B"));
  EXPECT_EQ(reached(coverage, 7), 0U);
}

TEST(Coverage, ANoticeWhoseMessageStandsElsewhereIsNotBelieved) {
  Coverage coverage;
  auto other = notice(5, 100);
  other.position.commit_lsn = Lsn{51};
  coverage.on_notice(other);
  EXPECT_EQ(reached(coverage, 5), 0U);
}

TEST(Coverage, BeforeTheFirstEventANoticeOfNoneCounts) {
  Coverage coverage;
  coverage.on_notice(notice(0, 100));
  EXPECT_EQ(coverage.take_reached(Cursor{})->lsn.value, 100U);
}

TEST(Coverage, ALongQueueKeepsItsFirstAndItsNewest) {
  Coverage coverage;
  for (std::uint64_t i = 1; i <= 1000; ++i) coverage.on_notice(notice(i, i));
  EXPECT_EQ(reached(coverage, 1), 1U);
  EXPECT_EQ(reached(coverage, 1000), 1000U);
}

}  // namespace
}  // namespace postrider
