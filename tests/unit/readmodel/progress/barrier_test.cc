#include "readmodel/progress/barrier.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

Position at(std::uint32_t timeline, std::uint64_t lsn) {
  Position position;
  position.timeline = timeline;
  position.commit_lsn = Lsn{lsn};
  return position;
}
Cursor end_at(std::uint64_t lsn) {
  Cursor cursor;
  cursor.position = at(1, lsn);
  return cursor;
}

const std::optional<Barrier> kNone;
const std::optional<Barrier> kUnknownPlace = Barrier{"v", 0, {}};
const std::optional<Barrier> kAt100 = Barrier{"v", 1, Lsn{100}};

TEST(Barrier, ThatIsNotThereAdmitsEverything) {
  EXPECT_TRUE(admits(kNone, at(9, ~0ULL)));
}

TEST(Barrier, WithoutAPlaceAdmitsNothingAndIsNeverReached) {
  EXPECT_FALSE(admits(kUnknownPlace, at(1, 1)));
  EXPECT_FALSE(is_reached(*kUnknownPlace, at(1, 1), 1, Lsn{100}));
}

TEST(Barrier, AdmitsCommitsThatStartBeforeIt) {
  EXPECT_TRUE(admits(kAt100, at(1, 99)));
  EXPECT_FALSE(admits(kAt100, at(1, 100)));
  EXPECT_FALSE(admits(kAt100, at(2, 50)));  // a later timeline is later, whatever its LSN
}

TEST(Barrier, CutsABatchAtTheFirstTransactionThatIsHeld) {
  const std::deque<Cursor> ends = {end_at(50), end_at(99), end_at(100), end_at(150)};
  EXPECT_EQ(admitted(kAt100, ends), 2U);
  EXPECT_EQ(admitted(kNone, ends), 4U);
  EXPECT_EQ(admitted(kUnknownPlace, ends), 0U);
  EXPECT_EQ(admitted(kAt100, {}), 0U);
}

TEST(Barrier, IsReachedOnceTheNextEventLiesBehindIt) {
  EXPECT_FALSE(is_reached(*kAt100, std::nullopt, 0, {}));
  EXPECT_FALSE(is_reached(*kAt100, at(1, 99), 0, {}));
  EXPECT_TRUE(is_reached(*kAt100, at(1, 100), 0, {}));
  EXPECT_TRUE(is_reached(*kAt100, at(2, 1), 0, {}));
}

TEST(Barrier, IsReachedOnceTheRelaySaysThatNothingElseCame) {
  EXPECT_FALSE(is_reached(*kAt100, std::nullopt, 1, Lsn{99}));
  EXPECT_TRUE(is_reached(*kAt100, std::nullopt, 1, Lsn{100}));
  EXPECT_TRUE(is_reached(*kAt100, std::nullopt, 2, Lsn{10}));
}

}  // namespace
}  // namespace postrider
