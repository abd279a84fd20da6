#include "outbox/src/statement.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(ByteaText, WritesTwoDigitsAByte) {
  const std::byte data[] = {std::byte{0x00}, std::byte{0x5c}, std::byte{0xff}};
  EXPECT_EQ(bytea_text(data), "\\x005cff");
  EXPECT_EQ(bytea_text({}), "\\x");
}

TEST(JsonObject, EscapesWhatJsonReserves) {
  EXPECT_EQ(json_object({}), "{}");
  EXPECT_EQ(json_object({{"a", "x\"y\\z"}, {"b", "line\nend\x01"}}),
            R"({"a":"x\"y\\z","b":"line\u000aend\u0001"})");
}

TEST(JsonObject, LeavesUtf8AsItIs) {
  EXPECT_EQ(json_object({{"n", "å\x7f"}}), "{\"n\":\"å\x7f\"}");
}

TEST(TextArray, QuotesEveryElement) {
  TextArray array;
  array.add("plain");
  array.add("");
  array.add("NULL");
  array.add(std::nullopt);
  array.add(R"({a,"b"\c})");
  EXPECT_EQ(array.take(), R"({"plain","","NULL",NULL,"{a,\"b\"\\c}"})");
}

TEST(TextArray, IsEmptyAfterTake) {
  TextArray array;
  array.add("x");
  EXPECT_EQ(array.take(), R"({"x"})");
  EXPECT_EQ(array.take(), "{}");
}

}  // namespace
}  // namespace postrider
