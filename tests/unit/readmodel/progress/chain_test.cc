#include "readmodel/progress/chain.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

// "ordinal lsn index [last]" of timeline 1, epoch 1; the transaction's id is its LSN.
PositionHeader header(std::uint64_t ordinal, std::uint64_t lsn, std::uint32_t index,
                      bool last = true) {
  PositionHeader h;
  h.ordinal = ordinal;
  h.position = {1, Lsn{lsn}, index, std::nullopt};
  h.fingerprint = {static_cast<std::uint32_t>(lsn), static_cast<std::int64_t>(lsn)};
  h.epoch = 1;
  h.last = last;
  return h;
}

Cursor cursor_at(std::uint64_t seq, const PositionHeader& h) {
  return {"A", seq, h.ordinal, h.position, h.fingerprint, h.epoch};
}

ErrorKind error_of(Chain& chain, std::uint64_t seq, const PositionHeader& h) {
  const auto before = chain.end();
  const auto step = chain.accept(seq, h);
  EXPECT_FALSE(step.has_value());
  EXPECT_EQ(chain.end(), before) << "an error must leave the chain as it was";
  return step ? ErrorKind::kInternal : step.error().kind;
}

class ChainTest : public ::testing::Test {
 protected:
  void apply(std::uint64_t seq, const PositionHeader& h) {
    const auto step = chain.accept(seq, h);
    ASSERT_TRUE(step.has_value()) << step.error().to_string();
    EXPECT_EQ(*step, Chain::Step::kApply);
  }
  void skip(std::uint64_t seq, const PositionHeader& h) {
    const auto step = chain.accept(seq, h);
    ASSERT_TRUE(step.has_value()) << step.error().to_string();
    EXPECT_EQ(*step, Chain::Step::kSkip);
  }
  Chain chain{Cursor{}, "A"};
};

TEST_F(ChainTest, ANewReadModelBeginsWithOrdinalOne) {
  apply(1, header(1, 10, 0, false));
  EXPECT_TRUE(chain.in_transaction());
  apply(2, header(2, 10, 3));
  EXPECT_FALSE(chain.in_transaction());
  EXPECT_EQ(chain.end(), cursor_at(2, header(2, 10, 3)));
}

TEST_F(ChainTest, AStreamWithoutItsBeginningIsBehind) {
  EXPECT_EQ(error_of(chain, 7, header(7, 10, 0)), ErrorKind::kStreamBehind);
}

TEST_F(ChainTest, SkipsWhatTheCursorCoversAndAppliesWhatFollows) {
  chain = Chain(cursor_at(5, header(5, 50, 0)), "A");
  skip(4, header(4, 40, 0));
  skip(5, header(5, 50, 0));
  apply(6, header(6, 60, 0));
}

TEST_F(ChainTest, AMissingOrdinalIsAGap) {
  apply(1, header(1, 10, 0));
  EXPECT_EQ(error_of(chain, 2, header(3, 30, 0)), ErrorKind::kStreamGap);
  apply(2, header(2, 20, 0));
}

TEST_F(ChainTest, TheCursorsOrdinalAtAnotherPlaceIsAnotherHistory) {
  chain = Chain(cursor_at(5, header(5, 50, 0)), "A");
  EXPECT_EQ(error_of(chain, 5, header(5, 51, 0)), ErrorKind::kHistoryDiffers);
  auto other = header(5, 50, 0);
  other.fingerprint.commit_time_us = 1;  // a restored source reuses its LSNs, not its commit times
  EXPECT_EQ(error_of(chain, 5, other), ErrorKind::kHistoryDiffers);
}

TEST_F(ChainTest, AnOlderOrdinalAtALaterPlaceIsAnotherHistory) {
  chain = Chain(cursor_at(5, header(5, 50, 0)), "A");
  EXPECT_EQ(error_of(chain, 4, header(4, 60, 0)), ErrorKind::kHistoryDiffers);
}

TEST_F(ChainTest, TheNextOrdinalAtAnEarlierPlaceIsAnotherHistory) {
  apply(1, header(1, 50, 0));
  EXPECT_EQ(error_of(chain, 2, header(2, 40, 0)), ErrorKind::kHistoryDiffers);
  EXPECT_EQ(error_of(chain, 2, header(2, 50, 0)), ErrorKind::kHistoryDiffers);
}

TEST_F(ChainTest, AnEpochNeverFalls) {
  auto first = header(1, 10, 0);
  first.epoch = 3;
  apply(1, first);
  EXPECT_EQ(error_of(chain, 2, header(2, 20, 0)), ErrorKind::kHistoryDiffers);
}

TEST_F(ChainTest, ATransactionWithoutItsLastEventIsTorn) {
  apply(1, header(1, 10, 0, false));
  EXPECT_EQ(error_of(chain, 2, header(2, 20, 0)), ErrorKind::kTornTransaction);
}

TEST_F(ChainTest, ATransactionThatGoesOnAfterItsLastEventIsTorn) {
  apply(1, header(1, 10, 0));
  EXPECT_EQ(error_of(chain, 2, header(2, 10, 1)), ErrorKind::kTornTransaction);
}

TEST_F(ChainTest, ATransactionOfAnotherFingerprintIsTorn) {
  apply(1, header(1, 10, 0, false));
  auto other = header(2, 10, 1);
  other.fingerprint.xid = 999;
  EXPECT_EQ(error_of(chain, 2, other), ErrorKind::kTornTransaction);
}

TEST_F(ChainTest, InAnotherStreamTheCursorTakesTheNewSequence) {
  chain = Chain(cursor_at(5, header(5, 50, 0)), "B");
  EXPECT_EQ(chain.end().seq, 0U);
  skip(2, header(5, 50, 0));
  EXPECT_EQ(chain.end().seq, 2U);
  EXPECT_EQ(chain.end().incarnation, "B");
  apply(3, header(6, 60, 0));
}

TEST_F(ChainTest, ADeclaredHoleIsPassedByWhoStandsBeforeIt) {
  apply(1, header(1, 10, 0));
  const auto step = chain.accept(9, header(5, 50, 0), OrdinalRange{2, 4});
  ASSERT_TRUE(step.has_value()) << step.error().to_string();
  EXPECT_EQ(*step, Chain::Step::kApply);
  apply(10, header(6, 60, 0));
}

TEST_F(ChainTest, ANewReadModelMayBeginBehindAHole) {
  EXPECT_TRUE(chain.accept(1, header(5, 50, 0), OrdinalRange{1, 4}).has_value());
}

TEST_F(ChainTest, WhoHasAppliedWhatWasGivenUpHalts) {
  for (const std::uint64_t applied : {2U, 3U, 4U}) {
    chain = Chain(cursor_at(applied, header(applied, 10 * applied, 0)), "A");
    const auto step = chain.accept(9, header(5, 50, 0), OrdinalRange{2, 4});
    ASSERT_FALSE(step.has_value()) << applied;
    EXPECT_EQ(step.error().kind, ErrorKind::kHistoryDiffers);
    EXPECT_NE(step.error().remedy.find("apply rebuild"), std::string::npos);
  }
}

TEST_F(ChainTest, AHoleExcusesNothingBeforeIt) {
  apply(1, header(1, 10, 0));
  const auto step = chain.accept(9, header(6, 60, 0), OrdinalRange{3, 5});
  ASSERT_FALSE(step.has_value());
  EXPECT_EQ(step.error().kind, ErrorKind::kStreamGap);
  const auto other = chain.accept(9, header(7, 60, 0), OrdinalRange{2, 5});
  ASSERT_FALSE(other.has_value()) << "it is not of this message";
}

TEST_F(ChainTest, AHoleEndsNoTransaction) {
  apply(1, header(1, 10, 0, false));
  const auto step = chain.accept(9, header(5, 50, 0), OrdinalRange{2, 4});
  ASSERT_FALSE(step.has_value());
  EXPECT_EQ(step.error().kind, ErrorKind::kTornTransaction);
}

TEST_F(ChainTest, TheMessageBehindAHoleIsSkippedOnceItIsApplied) {
  apply(1, header(1, 10, 0));
  ASSERT_TRUE(chain.accept(2, header(5, 50, 0), OrdinalRange{2, 4}).has_value());
  const auto again = chain.accept(2, header(5, 50, 0), OrdinalRange{2, 4});
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(*again, Chain::Step::kSkip);
}

}  // namespace
}  // namespace postrider
