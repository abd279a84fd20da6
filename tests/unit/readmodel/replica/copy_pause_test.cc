#include "readmodel/replica/copy_pause.h"

#include <gtest/gtest.h>

#include <vector>

namespace postrider::replica {
namespace {

// Batches until the next one that may copy.
int paused(CopyPause& pause) {
  int batches = 0;
  while (!pause.may_copy()) ++batches;
  return batches;
}

TEST(CopyPause, BeginsWithCopying) {
  CopyPause pause;
  EXPECT_EQ(paused(pause), 0);
}

TEST(CopyPause, IsTwiceAsLongEachTimeAndEndsSomewhere) {
  CopyPause pause;
  std::vector<int> pauses;
  for (int i = 0; i < 8; ++i) {
    pause.refused();
    pauses.push_back(paused(pause));
  }
  EXPECT_EQ(pauses, (std::vector<int>{1, 3, 7, 15, 31, 63, 63, 63}));
}

TEST(CopyPause, IsShortAgainOnceRowsWereCopied) {
  CopyPause pause;
  for (int i = 0; i < 3; ++i) {
    pause.refused();
    (void)paused(pause);
  }
  pause.copied();
  pause.refused();
  EXPECT_EQ(paused(pause), 1);
}

}  // namespace
}  // namespace postrider::replica
