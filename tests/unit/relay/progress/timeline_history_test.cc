#include "relay/progress/timeline_history.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(TimelineHistory, AServerThatWasNeverPromotedOwnsEverything) {
  const TimelineHistory history(1);
  EXPECT_EQ(history.owner(Lsn{0}), 1U);
  EXPECT_TRUE(history.contains(1, Lsn{0xFFFFFFFFFF}));
  EXPECT_FALSE(history.contains(2, Lsn{5}));
}

TEST(TimelineHistory, ASwitchPointBelongsToTheNewTimeline) {
  const auto history =
      TimelineHistory::parse(3, "1\t0/1000\tno recovery target\n2\t0/2000\tpromoted\n");
  ASSERT_TRUE(history);
  EXPECT_EQ(history->owner(Lsn{0xFFF}), 1U);
  EXPECT_EQ(history->owner(Lsn{0x1000}), 2U);
  EXPECT_EQ(history->owner(Lsn{0x1FFF}), 2U);
  EXPECT_EQ(history->owner(Lsn{0x2000}), 3U);
}

TEST(TimelineHistory, RefusesTextThatIsNotAHistory) {
  EXPECT_FALSE(TimelineHistory::parse(2, "nonsense"));
  EXPECT_FALSE(TimelineHistory::parse(3, "2\t0/2000\tx\n1\t0/3000\tx\n")) << "must rise";
  EXPECT_FALSE(TimelineHistory::parse(2, "1\tnot-an-lsn\tx\n"));
}

}  // namespace
}  // namespace postrider
