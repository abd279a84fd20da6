#include "readmodel/replica/row_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postrider::replica {
namespace {

using testing::ElementsAre;

std::string unescaped(std::string_view json) {
  std::string text;
  return append_unescaped(text, json) ? text : "refused";
}

TEST(RowJson, IsTakenApartWithoutTouchingValues) {
  RowJson row;
  const std::string payload =
      R"({"op":"update","schema":"public","table":"o\"t","new":{"id":7,"j": {"a":[1,"}"]} ,"n":null},)"
      R"("old":{"id":-0.0},"unchanged":["big","b\\"],"json_null":["n"],"old_json_null":[],"more":{"x":[]}})";
  ASSERT_TRUE(parse_row_json(payload, row));
  EXPECT_EQ(row.op, Op::kUpdate);
  EXPECT_EQ(row.schema, "\"public\"");
  EXPECT_EQ(row.table, R"("o\"t")");
  ASSERT_EQ(row.row.size(), 3U);
  EXPECT_EQ(row.row[0].name, "\"id\"");
  EXPECT_EQ(row.row[0].value, "7");
  EXPECT_EQ(row.row[1].value, R"( {"a":[1,"}"]} )") << "a json value keeps its blanks";
  ASSERT_EQ(row.old.size(), 1U);
  EXPECT_EQ(row.old[0].value, "-0.0");
  EXPECT_TRUE(row.has_old);
  EXPECT_THAT(row.unchanged, ElementsAre("\"big\"", R"("b\\")"));
  EXPECT_THAT(row.json_null, ElementsAre("\"n\""));
  // The same object again: nothing is left over.
  ASSERT_TRUE(parse_row_json(R"({"op":"truncate","schema":"s","table":"t"})", row));
  EXPECT_EQ(row.op, Op::kTruncate);
  EXPECT_TRUE(row.row.empty() && row.old.empty() && row.unchanged.empty() && !row.has_old);
}

TEST(RowJson, RefusesWhatIsNone) {
  RowJson row;
  for (const char* payload : {"", "[]", "{}", R"({"op":"insert","schema":"s"})",
                              R"({"op":"upsert","schema":"s","table":"t"})",
                              R"({"op":"insert","schema":"s","table":"t"} x)",
                              R"({"op":"insert","schema":"s","table":"t")",
                              R"({"op":"insert","schema":"s","table":"t","new":{"a":}})",
                              R"({"op":"insert","schema":"s","table":"t","new":{"a":"x})",
                              R"({"op":"insert","schema":"s","table":"t","new":{"a":[1}})",
                              R"({"op":"insert","schema":"s","table":"t","new":[1]})"})
    EXPECT_FALSE(parse_row_json(payload, row)) << payload;
}

TEST(RowJson, EveryPrefixOfARowChangeIsRefused) {
  const std::string payload =
      R"({"op":"update","schema":"s","table":"t","new":{"a":"\\\"","b":{"c":[null]}},"unchanged":["d"]})";
  RowJson row;
  for (std::size_t length = 0; length < payload.size(); ++length)
    EXPECT_FALSE(parse_row_json(payload.substr(0, length), row)) << length;
  EXPECT_TRUE(parse_row_json(payload, row));
}

TEST(RowJson, StringsAreUnescaped) {
  EXPECT_EQ(unescaped(R"("a\"\\\/\b\f\n\r\tz")"), "a\"\\/\b\f\n\r\tz");
  EXPECT_EQ(unescaped(R"("\u00e9\u20AC\ud83d\ude00\u0007")"),
            "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x07");
  EXPECT_EQ(unescaped("\"\""), "");
  for (const char* bad : {R"("\u0000")", R"("\ud800")", R"("\ud800\u0041")", R"("\udc00")",
                          R"("\u12")", R"("\x")", "\"", "abc", R"("\)"})
    EXPECT_EQ(unescaped(bad), "refused") << bad;
}

TEST(RowJson, RowChangesAreToldFromEvents) {
  ReceivedEvent event;
  event.type = "insert";
  EXPECT_TRUE(is_row_change(event));
  event.type = "read";
  EXPECT_TRUE(is_row_change(event));
  event.id = "5f8d";
  EXPECT_FALSE(is_row_change(event)) << "a service may call its types as it likes";
  event.id.clear();
  event.type = "placed";
  EXPECT_FALSE(is_row_change(event));
}

}  // namespace
}  // namespace postrider::replica
