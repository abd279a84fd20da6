#include "readmodel/replica/key_text.h"

#include <gtest/gtest.h>

namespace postrider::replica {
namespace {

std::string key_text(std::string_view json, bool is_json = false) {
  std::string text;
  append_key_text(text, json, is_json);
  return text;
}

TEST(KeyText, IsTheValueAsPostgreSQLPrintsItFitForAHeader) {
  EXPECT_EQ(key_text(" 12 "), "12");
  EXPECT_EQ(key_text("-0.5e-7"), "-0.5e-7");
  EXPECT_EQ(key_text("\"1.00\""), "1.00");
  EXPECT_EQ(key_text("true"), "t");
  EXPECT_EQ(key_text("false"), "f");
  EXPECT_EQ(key_text("\"true\""), "true");
  EXPECT_EQ(key_text("\"a b,c%\\n\\u007f\xc3\xa9\""), "a%20b%2Cc%25%0A%7F\xc3\xa9");
  EXPECT_EQ(key_text("\"\""), "");
}

TEST(KeyText, OfJsonIsItsText) {
  EXPECT_EQ(key_text("true", true), "true");
  EXPECT_EQ(key_text("\"a\"", true), "\"a\"");
  EXPECT_EQ(key_text("{\"a\": 1}", true), "{\"a\":%201}");
}

}  // namespace
}  // namespace postrider::replica
