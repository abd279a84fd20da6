#include "readmodel/replica/rules.h"

#include <gtest/gtest.h>

namespace postrider::replica {
namespace {

std::string names(const Carried& carried) {
  std::string list;
  for (const auto& [index, name] : carried_columns(carried, {"id", "a", "b", "c"}))
    list += std::to_string(index) + name + " ";
  return list;
}

TEST(CarriedColumns, AreThoseThatEventsHaveUnderTheirNames) {
  EXPECT_EQ(names({}), "0id 1a 2b 3c ");
  EXPECT_EQ(names({.columns = {"id", "c"}}), "0id 3c ");
  EXPECT_EQ(names({.exclude = {"a"}, .rename = {{"c", "a"}}}), "0id 2b 3a ");
  EXPECT_EQ(names({.rename = {{"a", "b"}, {"b", "a"}}}), "0id 1b 2a 3c ");
}

TEST(CarriedColumns, KeepTheirOwnNamesWhereTwoWouldShareOne) {
  EXPECT_EQ(names({.rename = {{"a", "b"}}}), "0id 1a 2b 3c ");
  EXPECT_EQ(names({.rename = {{"a", "b"}, {"b", "c"}}}), "0id 1a 2b 3c ");
  EXPECT_EQ(names({.exclude = {"c"}, .rename = {{"a", "b"}, {"b", "c"}}}), "0id 1b 2c ");
}

// The index of the rule, "-" for none; "*" where it takes a part of the events.
std::string rule_of(const std::vector<std::string>& subjects_of_rules,
                    const std::vector<std::string>& subjects_of_table) {
  Options options;
  for (const auto& subjects : subjects_of_rules) options.rules.emplace_back().subjects = subjects;
  const auto found = find_rule(options, "public", "orders", {.subjects = subjects_of_table});
  if (found.rule == nullptr) return "-";
  return std::to_string(found.rule - options.rules.data()) + (found.whole ? "" : "*");
}

TEST(FindRule, IsTheFirstWhoseSubjectsTheTablesEventsHave) {
  EXPECT_EQ(rule_of({""}, {"shop.cdc.public.orders"}), "0");
  EXPECT_EQ(rule_of({"shop.cdc.public.items", "shop.>"}, {"shop.cdc.public.orders"}), "1");
  EXPECT_EQ(rule_of({"shop.cdc.public.items"}, {"shop.cdc.public.orders"}), "-");
  EXPECT_EQ(rule_of({"shop.cdc.public.items"}, {}), "0") << "nothing is known of its events";
}

TEST(FindRule, TellsWhereARuleTakesAPartOfTheEvents) {
  EXPECT_EQ(rule_of({"shop.cdc.eu.orders"}, {"shop.cdc.public.orders", "shop.cdc.eu.orders"}),
            "0*");
  EXPECT_EQ(rule_of({"shop.cdc.eu.*"}, {"shop.cdc.*.orders"}), "0*");
  EXPECT_EQ(rule_of({"shop.cdc.*.orders"}, {"shop.cdc.public.orders", "shop.cdc.eu.orders"}), "0");
}

}  // namespace
}  // namespace postrider::replica
