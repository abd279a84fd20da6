#include "relay/progress/capture_rule.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(CaptureRule, MatchesTablesByPattern) {
  EXPECT_TRUE(matches_table("public.orders", "public", "orders"));
  EXPECT_FALSE(matches_table("public.orders", "public", "orders2"));
  EXPECT_FALSE(matches_table("public.orders", "sales", "orders"));
  EXPECT_TRUE(matches_table("sales.*", "sales", "a.b \"c\""));
  EXPECT_TRUE(matches_table("*.order_*_log", "x", "order_eu_log_log"));
  EXPECT_FALSE(matches_table("*.order_*_log", "x", "order_log"));
  EXPECT_TRUE(matches_table("*.*", "x", ""));
  EXPECT_FALSE(matches_table("orders", "public", "orders"));
}

TEST(CaptureRule, TheFirstThatMatchesCounts) {
  const std::vector<CaptureRule> rules = {{.tables = {"a.x", "a.y"}, .subject = "one"},
                                          {.tables = {"a.*"}, .subject = "two"}};
  EXPECT_EQ(find_rule(rules, "a", "y")->subject, "one");
  EXPECT_EQ(find_rule(rules, "a", "z")->subject, "two");
  EXPECT_EQ(find_rule(rules, "b", "x"), nullptr);
}

}  // namespace
}  // namespace postrider
