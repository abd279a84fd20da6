#include "relay/progress/outbox_rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(OutboxRule, IsFoundByTheTablesWholeName) {
  const std::vector<OutboxRule> rules = {{.table = "a.b"}, {.table = "a.b.c"}};
  EXPECT_EQ(find_outbox(rules, "a", "b"), &rules[0]);
  EXPECT_EQ(find_outbox(rules, "a", "b.c"), &rules[1]) << "the schema's name holds no dot";
  for (const auto& [schema, table] : std::vector<std::pair<std::string, std::string>>{
           {"a", ""}, {"", "b"}, {"a", "B"}, {"b", "a"}})
    EXPECT_EQ(find_outbox(rules, schema, table), nullptr);
}

TEST(OutboxRule, IsPublishedBeforeCapturesWithTheColumnsThatItNeeds) {
  const auto rules = published_rules({{.table = "a.b", .key = "", .headers = "h"},
                                      {.table = "a.c", .header_columns = {{"X", "x"}}}},
                                     {{.tables = {"a.*"}}});
  ASSERT_EQ(rules.size(), 3U);
  EXPECT_THAT(rules[0].columns, testing::ElementsAre("id", "type", "payload", "h"));
  EXPECT_THAT(rules[1].columns, testing::ElementsAre("id", "aggregateid", "type", "payload", "x"));
  EXPECT_EQ(find_rule(rules, "a", "b"), &rules[0]);
  EXPECT_EQ(find_rule(rules, "a", "d"), &rules[2]);
}

}  // namespace
}  // namespace postrider
