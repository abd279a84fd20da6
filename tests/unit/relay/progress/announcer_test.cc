#include "relay/progress/announcer.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

using std::chrono::milliseconds;

const Announcer::Time kStart{std::chrono::hours(1)};

Mark message(std::uint64_t ordinal, std::uint64_t commit = 0x100) {
  return {0, ordinal, {1, Lsn{commit}, 0, std::nullopt}, {50, 500}, 1};
}

std::optional<std::uint64_t> ordinal(const std::optional<Announcer::Claim>& claim) {
  return claim ? std::optional(claim->newest.ordinal) : std::nullopt;
}

TEST(Announcer, SaysNothingBeforeTheServerHasSaidHowFarItIs) {
  Announcer announcer(message(5));
  announcer.on_assigned(message(6));
  EXPECT_FALSE(announcer.next_due());
  EXPECT_FALSE(announcer.take_due(kStart));
}

TEST(Announcer, AnEmptyStreamIsCoveredByNoMessage) {
  Announcer announcer({});
  announcer.on_caught_up(Lsn{0x200});
  EXPECT_EQ(announcer.take_due(kStart), (Announcer::Claim{Lsn{0x200}, Mark{}}));
}

TEST(Announcer, NamesTheNewestMessageAssignedBeforeTheKeepalive) {
  Announcer announcer(message(5));
  announcer.on_assigned(message(6));
  announcer.on_assigned(message(7));
  announcer.on_caught_up(Lsn{0x200});
  EXPECT_EQ(announcer.take_due(kStart), (Announcer::Claim{Lsn{0x200}, message(7)}));
}

TEST(Announcer, AMessageAfterTheKeepaliveDoesNotChangeWhatItSaid) {
  Announcer announcer(message(5));
  announcer.on_caught_up(Lsn{0x200});
  announcer.on_assigned(message(6, 0x200));
  EXPECT_EQ(announcer.take_due(kStart), (Announcer::Claim{Lsn{0x200}, message(5)}));
}

TEST(Announcer, AKeepaliveThatFallsBackIsNotAnnounced) {
  Announcer announcer(message(5));
  announcer.on_caught_up(Lsn{0x200});
  EXPECT_TRUE(announcer.take_due(kStart));
  announcer.on_assigned(message(6, 0x200));
  announcer.on_caught_up(Lsn{0x150});
  announcer.on_caught_up(Lsn{0x200});
  const auto repeated = announcer.take_due(kStart + Announcer::kRepeat);
  EXPECT_EQ(repeated, (Announcer::Claim{Lsn{0x200}, message(5)}));
}

TEST(Announcer, TheFirstClaimIsDueAtOnce) {
  Announcer announcer({});
  announcer.on_caught_up(Lsn{0x200});
  ASSERT_TRUE(announcer.next_due());
  EXPECT_LE(*announcer.next_due(), kStart);
}

TEST(Announcer, ANewerClaimWaitsForTheIntervalAndIsNotForgotten) {
  Announcer announcer({});
  announcer.on_caught_up(Lsn{0x200});
  EXPECT_TRUE(announcer.take_due(kStart));
  for (std::uint64_t n = 1; n <= 5; ++n) {
    announcer.on_assigned(message(n));
    announcer.on_caught_up(Lsn{0x200 + n});
    EXPECT_FALSE(announcer.take_due(kStart + milliseconds(n)));
  }
  EXPECT_EQ(announcer.next_due(), kStart + Announcer::kInterval);
  EXPECT_EQ(ordinal(announcer.take_due(kStart + Announcer::kInterval)), 5U);
  EXPECT_FALSE(announcer.take_due(kStart + 2 * Announcer::kInterval));
}

TEST(Announcer, TheLastClaimIsRepeatedForThoseWhoComeLate) {
  Announcer announcer({});
  announcer.on_caught_up(Lsn{0x200});
  EXPECT_TRUE(announcer.take_due(kStart));
  EXPECT_EQ(announcer.next_due(), kStart + Announcer::kRepeat);
  EXPECT_FALSE(announcer.take_due(kStart + Announcer::kRepeat - milliseconds(1)));
  EXPECT_TRUE(announcer.take_due(kStart + Announcer::kRepeat));
  EXPECT_TRUE(announcer.take_due(kStart + 2 * Announcer::kRepeat));
}

}  // namespace
}  // namespace postrider
