#include "base/postgres/holder_life.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr HolderLife::Time kStart{seconds(1000)};

std::chrono::milliseconds silence(HolderLife& life, int pid, const char* changed,
                                  std::chrono::milliseconds by_server, HolderLife::Time now) {
  return life.silence(pid, changed, by_server, now, now);
}

TEST(HolderLife, IsWhatTheServersClockSaysAtTheFirstLook) {
  HolderLife life;
  EXPECT_EQ(silence(life, 7, "12:00", seconds(5), kStart), seconds(5));
}

TEST(HolderLife, IsWhatTheStandbyHasSeenItselfWhereTheServersClockWasSetBack) {
  HolderLife life;
  EXPECT_EQ(silence(life, 7, "12:00", -seconds(3600), kStart), milliseconds(0));
  EXPECT_EQ(silence(life, 7, "12:00", -seconds(3597), kStart + seconds(3)), seconds(3));
}

TEST(HolderLife, BeginsAnewWithEachSignOfIt) {
  HolderLife life;
  (void)silence(life, 7, "12:00", -seconds(3600), kStart);
  EXPECT_EQ(silence(life, 7, "11:00", -seconds(1), kStart + seconds(3)), milliseconds(0));
  EXPECT_EQ(silence(life, 7, "11:00", -seconds(1), kStart + seconds(4)), seconds(1));
  EXPECT_EQ(silence(life, 8, "11:00", -seconds(1), kStart + seconds(5)), milliseconds(0))
      << "another backend";
}

TEST(HolderLife, DoesNotCountForHowLongTheStandbyItselfStoodStill) {
  HolderLife life;
  EXPECT_EQ(life.silence(7, "12:00", milliseconds(0), kStart, kStart + seconds(9)),
            milliseconds(0));
  EXPECT_EQ(life.silence(7, "12:00", milliseconds(200), kStart + seconds(9), kStart + seconds(60)),
            milliseconds(200));
}

}  // namespace
}  // namespace postrider
