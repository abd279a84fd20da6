#include "daemon/check/known_losses.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(KnownLosses, AreMendedByTheMinorReleaseOfEachVersion) {
  EXPECT_EQ(mends_stale_publications(150012), "15.13");
  EXPECT_EQ(mends_stale_publications(150013), "");
  EXPECT_EQ(mends_stale_publications(160008), "16.9");
  EXPECT_EQ(mends_stale_publications(160009), "");
  EXPECT_EQ(mends_stale_publications(170004), "17.5");
  EXPECT_EQ(mends_stale_publications(170005), "");
  EXPECT_EQ(mends_stale_publications(180000), "");
}

}  // namespace
}  // namespace postrider
