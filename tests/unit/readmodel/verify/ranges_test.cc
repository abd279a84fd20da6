#include "readmodel/verify/ranges.h"

#include <gmock/gmock.h>

namespace postrider {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const RangeSum kA = {"000", 2, "10", "-4"};
const RangeSum kB = {"001", 1, "7", "9"};
const RangeSum kC = {"fff", 3, "5", "5"};

TEST(Ranges, OfEqualSidesDoNotDiffer) {
  EXPECT_THAT(differing({kA, kB, kC}, {kA, kB, kC}), IsEmpty());
  EXPECT_THAT(differing({}, {}), IsEmpty());
}

TEST(Ranges, ThatOneSideLacksDiffer) {
  EXPECT_THAT(differing({kA, kB, kC}, {kB}), ElementsAre("000", "fff"));
  EXPECT_THAT(differing({kB}, {kA, kB, kC}), ElementsAre("000", "fff"));
}

TEST(Ranges, DifferByEachPartOfTheirSum) {
  auto rows = kB;
  rows.rows = 2;
  auto high = kB;
  high.high = "8";
  auto low = kB;
  low.low = "-9";
  for (const auto& other : {rows, high, low})
    EXPECT_THAT(differing({kA, kB}, {kA, other}), ElementsAre("001"));
}

TEST(Ranges, AddUpTheirRows) {
  EXPECT_EQ(rows_of({kA, kB, kC}), 6U);
}

}  // namespace
}  // namespace postrider
