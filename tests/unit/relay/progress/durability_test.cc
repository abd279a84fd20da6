#include "relay/progress/durability.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
constexpr milliseconds kDelay{10'000};
const SteadyTime kStart = SteadyTime{} + std::chrono::hours(1);

Mark mark(std::uint64_t ordinal) {
  return {ordinal, ordinal, {}, {}, 1};
}

class DurabilityTest : public ::testing::Test {
 protected:
  Durability durability_{kDelay, mark(5), Lsn{0x100}, kStart};
};

TEST_F(DurabilityTest, NothingIsConfirmableAtFirst) {
  EXPECT_FALSE(durability_.confirmable(kStart + seconds(100)));
  EXPECT_FALSE(durability_.next_due());
}

TEST_F(DurabilityTest, WhatWasPublishedIsConfirmableAfterTheDelayAndNotBefore) {
  durability_.on_published(Lsn{0x200}, mark(6), kStart + seconds(1));
  EXPECT_EQ(durability_.next_due(), kStart + seconds(11));
  EXPECT_FALSE(durability_.confirmable(kStart + seconds(11) - milliseconds(1)));
  const auto place = durability_.confirmable(kStart + seconds(11));
  ASSERT_TRUE(place);
  EXPECT_EQ(place->confirm_to, Lsn{0x200});
  EXPECT_EQ(place->mark.ordinal, 6U);
}

TEST_F(DurabilityTest, TheNewestRipePlaceIsChosen) {
  durability_.on_published(Lsn{0x200}, mark(6), kStart + seconds(1));
  durability_.on_published(Lsn{0x300}, mark(7), kStart + seconds(2));
  durability_.on_published(Lsn{0x400}, mark(8), kStart + seconds(9));
  EXPECT_EQ(durability_.confirmable(kStart + seconds(12))->confirm_to, Lsn{0x300});
}

TEST_F(DurabilityTest, AfterConfirmingNothingIsLeftUntilMoreIsRipe) {
  durability_.on_published(Lsn{0x200}, mark(6), kStart + seconds(1));
  durability_.on_confirmed(Lsn{0x200});
  EXPECT_EQ(durability_.confirmed(), Lsn{0x200});
  EXPECT_FALSE(durability_.confirmable(kStart + seconds(60)));
  durability_.on_confirmed(Lsn{0x150});
  EXPECT_EQ(durability_.confirmed(), Lsn{0x200}) << "never backwards";
}

TEST_F(DurabilityTest, TheMarkOfTheSessionStartAgesFromTheSessionStart) {
  durability_.on_caught_up(Lsn{0x180});
  EXPECT_FALSE(durability_.confirmable(kStart + kDelay - milliseconds(1)));
  const auto place = durability_.confirmable(kStart + kDelay);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->confirm_to, Lsn{0x180});
  EXPECT_EQ(place->mark.ordinal, 5U);
}

TEST_F(DurabilityTest, AKeepaliveNeverOvertakesAnUnripeMessage) {
  durability_.on_published(Lsn{0x200}, mark(6), kStart + seconds(5));
  durability_.on_caught_up(Lsn{0x900});
  EXPECT_FALSE(durability_.confirmable(kStart + seconds(14)));
  const auto place = durability_.confirmable(kStart + seconds(15));
  ASSERT_TRUE(place);
  EXPECT_EQ(place->confirm_to, Lsn{0x900});
  EXPECT_EQ(place->mark.ordinal, 6U);
}

TEST_F(DurabilityTest, ASteadyLoadStillRipens) {
  // A message each millisecond for a minute: confirmation must follow at its distance all the time.
  constexpr std::uint64_t kFirst = 0x200;
  std::uint64_t confirmed_at_ms = 0;
  for (std::uint64_t ms = 0; ms < 60'000; ++ms) {
    const auto now = kStart + milliseconds(ms);
    durability_.on_published(Lsn{kFirst + ms}, mark(ms), now);
    if (const auto place = durability_.confirmable(now)) {
      const auto published_at_ms = place->confirm_to.value - kFirst;
      ASSERT_LE(published_at_ms + 10'000, ms) << "too early";
      durability_.on_confirmed(place->confirm_to);
      confirmed_at_ms = published_at_ms;
    }
    if (ms > 11'000) {
      ASSERT_GE(confirmed_at_ms + 10'200, ms) << "lagging";
    }
  }
}

TEST(Durability, WithoutADelayAnAcknowledgementIsEnough) {
  Durability durability(milliseconds(0), mark(0), Lsn{0x100}, kStart);
  durability.on_published(Lsn{0x200}, mark(1), kStart);
  EXPECT_EQ(durability.confirmable(kStart)->confirm_to, Lsn{0x200});
}

}  // namespace
}  // namespace postrider
