#include "readmodel/replica/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postrider::replica {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TargetTable table() {
  TargetTable t;
  t.schema = "public";
  t.name = "t";
  t.columns = {{"id", "integer", false, false, true},
               {"user \"x\"", "text", false, false, false},
               {"j", "json", true, false, false},
               {"twice", "integer", false, true, false}};
  t.key = {{0, "OPERATOR(pg_catalog.=)"}};
  return t;
}

class Decoding : public testing::Test {
 protected:
  Result<void> decode(const std::string& members) {
    payload_ = R"({"schema":"public","table":"t",)" + members + "}";
    EXPECT_TRUE(parse_row_json(payload_, json_)) << payload_;
    return decoder_.decode(json_, change_, unknown_);
  }
  std::string refusal(const std::string& members) {
    const auto result = decode(members);
    return result ? "" : result.error().to_string();
  }

  TargetTable table_ = table();
  Decoder decoder_{table_};
  std::string payload_;
  RowJson json_;
  Change change_;
  std::vector<std::string> unknown_;
};

TEST_F(Decoding, FindsColumnsByNameAndLeavesGeneratedOnesOut) {
  ASSERT_TRUE(decode(
      R"("op":"insert","new":{"j": null ,"twice":2,"user \"x\"":"a","id":1},"json_null":["j"])"));
  EXPECT_TRUE(change_.complete);
  EXPECT_EQ(change_.row[0], (Cell{Cell::Kind::kValue, "1"}));
  EXPECT_EQ(change_.row[1], (Cell{Cell::Kind::kValue, "\"a\""}));
  EXPECT_EQ(change_.row[2], (Cell{Cell::Kind::kValue, " null "})) << "JSON's null, not SQL's";
  EXPECT_FALSE(change_.row[3].present());
  ASSERT_TRUE(decode(R"("op":"insert","new":{"j":null,"id":1})"));
  EXPECT_EQ(change_.row[2].kind, Cell::Kind::kNull);
  EXPECT_FALSE(change_.row[1].present());
}

TEST_F(Decoding, NamesWhatTheTargetLacksUntilItIsIgnored) {
  ASSERT_TRUE(decode(R"("op":"update","new":{"id":1,"new\n":1},"unchanged":["big"])"));
  EXPECT_THAT(unknown_, ElementsAre("new\n", "big"));
  decoder_.ignore("new\n");
  decoder_.ignore("big");
  ASSERT_TRUE(decode(R"("op":"update","new":{"id":1,"new\n":1},"unchanged":["big"])"));
  EXPECT_TRUE(unknown_.empty());
  EXPECT_TRUE(change_.complete) << "nothing that the target has is missing";
}

TEST_F(Decoding, TakesAKeyThatIsUnchangedFromTheOldRow) {
  ASSERT_TRUE(
      decode(R"("op":"update","new":{"j":{}},"old":{"id":5},"unchanged":["id","user \"x\""])"));
  EXPECT_EQ(change_.row[0].json, "5");
  EXPECT_FALSE(change_.complete);
}

TEST_F(Decoding, RefusesWhatTheTargetCannotFollow) {
  EXPECT_THAT(refusal(R"("op":"delete","old":{"j":1})"), HasSubstr("USING INDEX"));
  EXPECT_THAT(refusal(R"("op":"insert","new":{"j":1})"), HasSubstr("has no value"));
  EXPECT_THAT(refusal(R"("op":"insert","new":{"id":1,"user \"x\"":"\u0000"})"),
              HasSubstr("no text"));
  EXPECT_EQ(refusal(R"("op":"insert","new":{"id":1,"j":"\u0000"})"), "") << "type json may";
  table_.columns[1].required = true;
  EXPECT_THAT(refusal(R"("op":"insert","new":{"id":1})"), HasSubstr("DROP NOT NULL"));
  EXPECT_EQ(refusal(R"("op":"update","new":{"id":1},"unchanged":["user \"x\""])"), "");
}

TEST_F(Decoding, RefusesARowThatIsMadeWithoutItsLargeValues) {
  EXPECT_THAT(refusal(R"("op":"insert","new":{"id":1},"unchanged":["user \"x\""])"),
              HasSubstr("ALTER TABLE public.t REPLICA IDENTITY FULL"));
  EXPECT_THAT(refusal(R"("op":"read","new":{"id":1},"unchanged":["user \"x\""])"),
              HasSubstr("--replace public.t"));
  decoder_.ignore("big");
  EXPECT_EQ(refusal(R"("op":"insert","new":{"id":1},"unchanged":["big"])"), "")
      << "what the target leaves out is no loss";
}

TEST_F(Decoding, KnowsTheSourcesKeyByTheEventsHeader) {
  table_.key = {{1, "="}, {0, "="}};  // in another order than the source's columns
  Decoder decoder(table_);
  const auto check = [&](const std::string& members, const std::string& told) {
    payload_ = R"({"schema":"public","table":"t",)" + members + "}";
    EXPECT_TRUE(parse_row_json(payload_, json_));
    EXPECT_TRUE(decoder.decode(json_, change_, unknown_));
    const auto result = decoder.check_key(json_, told);
    return result ? std::string() : result.error().to_string();
  };
  const std::string row = R"("new":{"id":1,"j":{},"user \"x\"":"a,b"})";
  EXPECT_EQ(check(R"("op":"insert",)" + row, "1,a%2Cb"), "");
  EXPECT_EQ(check(R"("op":"delete","old":{"id":1,"user \"x\"":"a"})", "1,a"), "");
  EXPECT_EQ(check(R"("op":"truncate")", ""), "");
  // Empty text has a comma behind it, but not before the first text.
  EXPECT_EQ(check(R"("op":"insert","new":{"id":1,"user \"x\"":""})", "1,"), "");
  EXPECT_EQ(check(R"("op":"insert","new":{"user \"x\"":"","id":1})", "1"), "");
  for (const auto* told : {"1", "a%2Cb", "{}", "1,a%2Cb,{}", "2,a%2Cb"})
    EXPECT_THAT(check(R"("op":"update",)" + row, told), HasSubstr("REPLICA IDENTITY USING INDEX"))
        << told;
  table_.key.clear();
  Decoder keyless(table_);
  EXPECT_TRUE(keyless.check_key(json_, "1"));
}

TEST_F(Decoding, WithoutKeyNeedsOldRows) {
  table_.key.clear();
  Decoder keyless(table_);
  const auto decode_keyless = [&](const std::string& members) {
    payload_ = R"({"schema":"public","table":"t",)" + members + "}";
    EXPECT_TRUE(parse_row_json(payload_, json_));
    const auto result = keyless.decode(json_, change_, unknown_);
    return result ? std::string() : result.error().to_string();
  };
  EXPECT_EQ(decode_keyless(R"("op":"insert","new":{"id":1})"), "");
  EXPECT_EQ(decode_keyless(R"("op":"update","new":{"id":1},"old":{"id":2})"), "");
  EXPECT_THAT(decode_keyless(R"("op":"update","new":{"id":1})"), HasSubstr("ADD PRIMARY KEY"));
}

}  // namespace
}  // namespace postrider::replica
