#include "readmodel/subject_pattern.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(SubjectPattern, MatchesTokenByToken) {
  EXPECT_TRUE(matches("shop.order.placed", "shop.order.placed"));
  EXPECT_FALSE(matches("shop.order.placed", "shop.order"));
  EXPECT_FALSE(matches("shop.order", "shop.order.placed"));
  EXPECT_TRUE(matches("shop.*.placed", "shop.order.placed"));
  EXPECT_FALSE(matches("shop.*", "shop.order.placed"));
  EXPECT_FALSE(matches("shop.*", "shop"));
}

TEST(SubjectPattern, AGreaterThanStandsForOneTokenOrMore) {
  EXPECT_TRUE(matches("shop.>", "shop.order"));
  EXPECT_TRUE(matches("shop.>", "shop.order.placed"));
  EXPECT_FALSE(matches("shop.>", "shop"));
  EXPECT_TRUE(matches(">", "shop.order"));
}

TEST(SubjectPattern, TellsHowMuchOfAnotherItMatches) {
  EXPECT_EQ(share_of("shop.>", "shop.cdc.*"), Share::kAll);
  EXPECT_EQ(share_of("shop.*.a", "shop.*.a"), Share::kAll);
  EXPECT_EQ(share_of("shop.cdc.a", "shop.cdc.a"), Share::kAll);
  EXPECT_EQ(share_of("shop.cdc.a", "shop.cdc.*"), Share::kPart);
  EXPECT_EQ(share_of("shop.*.a", "shop.>"), Share::kPart);
  EXPECT_EQ(share_of("shop.cdc.a", "shop.cdc.b"), Share::kNone);
  EXPECT_EQ(share_of("shop.cdc", "shop.cdc.*"), Share::kNone);
  EXPECT_EQ(share_of("shop.cdc.>", "shop.cdc"), Share::kNone);
}

TEST(SubjectPattern, RefusesWhatNatsWould) {
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a.>.b", "a b", "a*", ">a", "a.b\r\n"})
    EXPECT_FALSE(is_valid_pattern(bad)) << bad;
  for (const char* good : {"a", "a.b", "a.*.b", "*", ">", "a.>"})
    EXPECT_TRUE(is_valid_pattern(good)) << good;
}

}  // namespace
}  // namespace postrider
