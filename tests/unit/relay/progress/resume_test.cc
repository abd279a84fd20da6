#include "relay/progress/resume.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

constexpr Fingerprint kPrint{50, 500};

Position at(std::uint64_t lsn, std::uint32_t index = 0) {
  return {1, Lsn{lsn}, index, std::nullopt};
}

Start after(std::uint64_t ordinal, Position position, std::uint64_t skip = 0) {
  Start start;
  start.mark = {ordinal, ordinal, position, kPrint, 1};
  start.start_lsn = position.commit_lsn;
  start.verify_first = true;
  start.skip = skip;
  return start;
}

std::optional<std::uint64_t> ordinal(Resume& resume, const Position& position,
                                     Fingerprint print = {60, 600}) {
  auto result = resume.on_event(position, print, 1);
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().context);
  return result ? *result : std::nullopt;
}

TEST(Resume, ANewSourceBeginsWithOrdinalOne) {
  Resume resume({}, 1);
  ASSERT_TRUE(resume.on_begin(Lsn{0x10}, kPrint));
  EXPECT_EQ(ordinal(resume, at(0x10)), 1U);
  EXPECT_EQ(ordinal(resume, at(0x10, 1)), 2U);
}

TEST(Resume, DropsWhatIsAtOrBeforeTheMark) {
  Resume resume(after(5, at(0x10, 2)), 1);
  ASSERT_TRUE(resume.on_begin(Lsn{0x10}, kPrint));
  EXPECT_FALSE(ordinal(resume, at(0x10, 0), kPrint));
  EXPECT_FALSE(ordinal(resume, at(0x10, 2), kPrint));
  EXPECT_TRUE(resume.done());
  EXPECT_EQ(ordinal(resume, at(0x10, 3), kPrint), 6U);
  EXPECT_EQ(resume.dropped(), 2U);
}

TEST(Resume, MoreToSkipThanWasCommittedBeforeTheStreamWasReadIsForeign) {
  Start start = after(5, at(0x10), 2);
  start.published_before = Lsn{0x30};
  Resume resume(start, 1);
  ASSERT_TRUE(resume.on_begin(Lsn{0x10}, kPrint));
  EXPECT_FALSE(ordinal(resume, at(0x10), kPrint));
  ASSERT_TRUE(resume.on_begin(Lsn{0x20}, {60, 600}));
  EXPECT_FALSE(ordinal(resume, at(0x20)));
  ASSERT_TRUE(resume.on_caught_up(Lsn{0x28}));
  EXPECT_EQ(resume.on_caught_up(Lsn{0x30}).error().kind, ErrorKind::kForeignMessage);
  EXPECT_EQ(resume.on_begin(Lsn{0x30}, {70, 700}).error().kind, ErrorKind::kForeignMessage);
}

TEST(Resume, WhatIsSkippedInTimeIsNotForeign) {
  Start start = after(5, at(0x10), 1);
  start.published_before = Lsn{0x30};
  Resume resume(start, 1);
  ASSERT_TRUE(resume.on_begin(Lsn{0x10}, kPrint));
  EXPECT_FALSE(ordinal(resume, at(0x10), kPrint));
  ASSERT_TRUE(resume.on_begin(Lsn{0x20}, {60, 600}));
  EXPECT_FALSE(ordinal(resume, at(0x20)));
  EXPECT_TRUE(resume.on_caught_up(Lsn{0x30}));
  EXPECT_TRUE(resume.on_begin(Lsn{0x30}, {70, 700}));
}

TEST(Resume, AnotherFirstTransactionIsAnotherHistory) {
  Resume elsewhere(after(5, at(0x10)), 1);
  EXPECT_EQ(elsewhere.on_begin(Lsn{0x18}, kPrint).error().kind, ErrorKind::kHistoryDiffers);
  Resume other_xid(after(5, at(0x10)), 1);
  EXPECT_EQ(other_xid.on_begin(Lsn{0x10}, {51, 500}).error().kind, ErrorKind::kHistoryDiffers);
  Resume other_time(after(5, at(0x10)), 1);
  EXPECT_EQ(other_time.on_begin(Lsn{0x10}, {50, 501}).error().kind, ErrorKind::kHistoryDiffers);
}

TEST(Resume, AMarkThatTheTransactionDoesNotReachIsAnotherHistory) {
  Resume resume(after(5, at(0x10, 4)), 1);
  ASSERT_TRUE(resume.on_begin(Lsn{0x10}, kPrint));
  EXPECT_FALSE(ordinal(resume, at(0x10, 3), kPrint));
  EXPECT_EQ(resume.on_commit(Lsn{0x10}).error().kind, ErrorKind::kHistoryDiffers);
}

TEST(Resume, AnEventBeyondTheMarkBeforeTheMarkWasSeenIsAnotherHistory) {
  Resume resume(after(5, at(0x10, 4)), 1);
  ASSERT_TRUE(resume.on_begin(Lsn{0x10}, kPrint));
  EXPECT_EQ(resume.on_event(at(0x10, 5), kPrint, 1).error().kind, ErrorKind::kHistoryDiffers);
}

TEST(Resume, AServerThatIsPastTheMarkWithoutSendingItHasAnotherHistory) {
  Resume resume(after(5, at(0x10)), 1);
  EXPECT_TRUE(resume.on_caught_up(Lsn{0x10}));
  EXPECT_EQ(resume.on_caught_up(Lsn{0x11}).error().kind, ErrorKind::kHistoryDiffers);
}

TEST(Resume, SkipsExactlyWhatTheStreamHoldsButDoesNotShow) {
  Resume resume(after(5, at(0x10), 2), 1);
  ASSERT_TRUE(resume.on_begin(Lsn{0x10}, kPrint));
  EXPECT_FALSE(ordinal(resume, at(0x10), kPrint));
  EXPECT_FALSE(resume.done());
  EXPECT_FALSE(ordinal(resume, at(0x20)));
  EXPECT_EQ(resume.mark().ordinal, 6U) << "the mark moves with what is skipped";
  EXPECT_FALSE(ordinal(resume, at(0x30)));
  EXPECT_TRUE(resume.done());
  EXPECT_EQ(resume.mark().seq, 7U);
  EXPECT_EQ(resume.mark().position, at(0x30));
  EXPECT_EQ(ordinal(resume, at(0x40)), 8U);
}

TEST(Resume, DoesNotSkipAcrossAPromotion) {
  Resume resume(after(5, at(0x10), 2), 2);
  ASSERT_TRUE(resume.on_begin(Lsn{0x10}, kPrint));
  EXPECT_FALSE(ordinal(resume, at(0x10), kPrint));
  EXPECT_EQ(resume.on_event(at(0x20), {60, 600}, 1).error().kind, ErrorKind::kTimelineDiverged);
}

TEST(Resume, PositionsMustRise) {
  Resume resume({}, 1);
  EXPECT_EQ(ordinal(resume, at(0x20)), 1U);
  EXPECT_EQ(resume.on_event(at(0x20), kPrint, 1).error().kind, ErrorKind::kInternal);
}

}  // namespace
}  // namespace postrider
