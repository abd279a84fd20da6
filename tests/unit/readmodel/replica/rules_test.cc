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

}  // namespace
}  // namespace postrider::replica
