#include "relay/wire/record_text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postrider::wire {
namespace {

std::vector<std::string> texts(const Tuple& row) {
  std::vector<std::string> found;
  for (const auto& value : row)
    found.push_back(value.kind == Value::Kind::kNull ? "NULL"
                                                     : "'" + std::string(value.data) + "'");
  return found;
}

TEST(RecordText, FieldsAreWhatPostgresWrote) {
  RecordReader records(R"((1,,"","a ""b"" \\c,)(",x)(NULL)())");
  Tuple row;
  ASSERT_TRUE(records.next(row));
  EXPECT_EQ(texts(row), (std::vector<std::string>{"'1'", "NULL", "''", R"('a "b" \c,)(')", "'x'"}));
  ASSERT_TRUE(records.next(row));
  EXPECT_EQ(texts(row), std::vector<std::string>{"'NULL'"});
  ASSERT_TRUE(records.next(row));
  EXPECT_EQ(texts(row), std::vector<std::string>{"NULL"});
  EXPECT_TRUE(records.at_end());
}

TEST(RecordText, SeveralEscapedFieldsOfARecordStandTogether) {
  const std::string text =
      "(\"" + std::string(1000, '"') + "\",\"" + std::string(2000, '\\') + "\")";
  RecordReader records(text);
  Tuple row;
  ASSERT_TRUE(records.next(row));
  EXPECT_EQ(texts(row), (std::vector<std::string>{"'" + std::string(500, '"') + "'",
                                                  "'" + std::string(1000, '\\') + "'"}));
}

TEST(RecordText, EveryPrefixOfARecordIsCutShort) {
  const std::string whole = R"((1,"a ""b"" \\",x))";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    RecordReader records(std::string_view(whole).substr(0, size));
    Tuple row;
    EXPECT_FALSE(records.next(row)) << size;
  }
  for (const char* bad : {"1)", "(\"a\"b)", "(\"a\\b\")", "(a"}) {
    RecordReader records(bad);
    Tuple row;
    EXPECT_FALSE(records.next(row)) << bad;
  }
}

}  // namespace
}  // namespace postrider::wire
