#include "relay/backfill/pace.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

using std::chrono::milliseconds;

TEST(BackfillPace, AimsAtATimeAndAtBytes) {
  BackfillPace pace(std::nullopt);
  BackfillPace::Time now{};
  for (int i = 0; i < 20; ++i) pace.on_carried(pace.rows(), pace.rows() * 10, milliseconds(1), now);
  EXPECT_EQ(pace.rows(), BackfillPace::kMost);
  pace.on_carried(20'000, 100'000, milliseconds(100), now);
  EXPECT_EQ(pace.rows(), BackfillPace::kMost) << "as it should be";
  pace.on_carried(20'000, 100'000, milliseconds(250), now);
  EXPECT_EQ(pace.rows(), BackfillPace::kMost / 2);
  for (int i = 0; i < 20; ++i) pace.on_carried(5, 100, milliseconds(300), now);
  EXPECT_EQ(pace.rows(), BackfillPace::kFloor) << "a slow disk is not the rows' fault";
  for (int i = 0; i < 20; ++i) pace.on_carried(5, 1UL << 30, milliseconds(10), now);
  EXPECT_EQ(pace.rows(), 1U) << "but their size is";
  pace.on_carried(0, 0, milliseconds(1), now);
  EXPECT_EQ(pace.rows(), 2U) << "a filter leaves few rows, or none";
  EXPECT_LE(pace.next(), now) << "no rate was asked for";
}

TEST(BackfillPace, HalvesWhereOthersHoldRowsAndKeepsOne) {
  BackfillPace pace(std::nullopt);
  for (int i = 0; i < 20; ++i) pace.on_busy();
  EXPECT_EQ(pace.rows(), 1U);
}

TEST(BackfillPace, KeepsToARateWithoutSavingUpForABurst) {
  BackfillPace pace(1000);
  BackfillPace::Time now{};
  now += std::chrono::hours(1);
  std::uint64_t rows = 0;
  const auto begun = now;
  for (int i = 0; i < 100; ++i) {
    now = std::max(now, pace.next());
    EXPECT_LE(pace.rows(), 250U);
    rows += pace.rows();
    pace.on_carried(pace.rows(), 100, milliseconds(0), now);
  }
  now = pace.next();
  const double seconds = std::chrono::duration<double>(now - begun).count();
  EXPECT_NEAR(static_cast<double>(rows) / seconds, 1000, 1);
}

}  // namespace
}  // namespace postrider
