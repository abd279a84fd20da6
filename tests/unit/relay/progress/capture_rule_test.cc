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

TEST(CaptureRule, KnowsTheSubjectsOfATable) {
  CaptureRule rule;
  using Patterns = std::vector<std::string>;
  EXPECT_EQ(subject_patterns(rule, "shop", "public", "orders"), Patterns{"shop.cdc.public.orders"});
  EXPECT_EQ(subject_patterns(rule, "shop", "public", "my orders"), Patterns{"shop.cdc.public.*"});
  rule.subject = "rows.x{op}.{table}_{key}.{column:region}";
  rule.subject_values = {{"eu", "eu.{table}"}};
  EXPECT_EQ(subject_patterns(rule, "shop", "public", "orders"),
            (Patterns{"shop.rows.*.*.*", "shop.eu.orders"}));
}

}  // namespace
}  // namespace postrider
