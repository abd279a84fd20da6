#include "daemon/capture_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace postrider {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kTables = "tables = [\"public.orders\"]\n";

CaptureRule read(const std::string& text) {
  return read_capture("a.toml", toml::parse("\n" + text));
}

// What is said against it, with the remedy.
std::string refusal(const std::string& text) {
  try {
    (void)read(text);
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error().kind, ErrorKind::kConfiguration);
    EXPECT_THAT(failure.error().context, HasSubstr("a.toml:"));
    EXPECT_FALSE(failure.error().remedy.empty()) << failure.what();
    return failure.what();
  }
  return "";
}

TEST(CaptureConfig, ReadsEveryKey) {
  const auto rule = read(
      "tables = [\"public.orders\", \"sales.*\"]\nsubject = \"a.{column:b c}.{key}\"\n"
      "format = \"debezium\"\nexclude = [\"secret\"]\nmask = [\"email\", \"e\\\"\"]\n"
      "hash = [\"ssn\"]\nhash_salt = \"pepper\"\nrename = { e = \"email\", \"a b\" = \"e\" }\n"
      "where = \"id > 1\"\nbackfill = true\n");
  EXPECT_THAT(rule.tables, ElementsAre("public.orders", "sales.*"));
  EXPECT_EQ(rule.subject, "a.{column:b c}.{key}");
  EXPECT_EQ(rule.format, RowFormat::kDebezium);
  EXPECT_THAT(rule.exclude, ElementsAre("secret"));
  EXPECT_THAT(rule.mask, ElementsAre("email", "e\""));
  EXPECT_EQ(rule.where, "id > 1");
  EXPECT_TRUE(rule.backfill);
  EXPECT_THAT(rule.hash, ElementsAre("ssn"));
  EXPECT_EQ(rule.hash_salt, "pepper");
  EXPECT_THAT(rule.rename, ElementsAre(testing::Pair("a b", "e"), testing::Pair("e", "email")));
  EXPECT_THAT(read(kTables + "columns = [\"id\"]\n").columns, ElementsAre("id"));
}

TEST(CaptureConfig, NeedsTheTablesAlone) {
  EXPECT_EQ(read(kTables), CaptureRule{.tables = {"public.orders"}});
  EXPECT_EQ(read(kTables + "format = \"postrider\"\n").format, RowFormat::kPostrider);
}

TEST(CaptureConfig, RefusesTablesThatNameNone) {
  EXPECT_THAT(refusal("subject = \"a\"\n"), HasSubstr("capture.tables is not set"));
  EXPECT_THAT(refusal("tables = []\n"), HasSubstr("capture.tables"));
  EXPECT_THAT(refusal("tables = [\"orders\"]\n"), HasSubstr("\"orders\""));
  EXPECT_THAT(refusal("tables = [1]\n"), HasSubstr("capture.tables"));
  EXPECT_THAT(refusal("tables = \"public.orders\"\n"), HasSubstr("capture.tables"));
}

TEST(CaptureConfig, RefusesUnknownKeysAndValuesWithTheNearest) {
  EXPECT_THAT(refusal(kTables + "exclud = [\"a\"]\n"),
              testing::AllOf(HasSubstr("a.toml:3"), HasSubstr("unknown key \"capture.exclud\""),
                             HasSubstr("did you mean \"capture.exclude\"?")));
  EXPECT_THAT(refusal(kTables + "format = \"avro\"\n"), HasSubstr("\"avro\""));
  EXPECT_THAT(refusal(kTables + "columns = []\n"), HasSubstr("capture.columns"));
  EXPECT_THAT(refusal(kTables + "mask = [\"\"]\n"), HasSubstr("capture.mask"));
  EXPECT_THAT(refusal(kTables + "where = 1\n"), HasSubstr("capture.where"));
  for (const char* rename : {"{}", "{ a = \"\" }", "{ a = 1 }", "[\"a\"]", "\"a\""})
    EXPECT_THAT(refusal(kTables + "rename = " + rename + "\n"), HasSubstr("table of strings"))
        << rename;
}

TEST(CaptureConfig, RefusesColumnsBesideExclude) {
  EXPECT_THAT(refusal(kTables + "columns = [\"a\"]\nexclude = [\"b\"]\n"),
              HasSubstr("exclude each other"));
}

TEST(CaptureConfig, RefusesColumnsThatContradictEachOther) {
  EXPECT_THAT(refusal(kTables + "hash = [\"a\"]\nexclude = [\"a\"]\n"),
              HasSubstr("column a is in capture.hash and in capture.exclude"));
  EXPECT_THAT(refusal(kTables + "mask = [\"a\"]\nexclude = [\"a\"]\n"), HasSubstr("capture.mask"));
  EXPECT_THAT(refusal(kTables + "mask = [\"a\"]\nhash = [\"a\"]\n"),
              HasSubstr("in capture.hash and in capture.mask"));
  EXPECT_THAT(refusal(kTables + "hash = [\"a\"]\ncolumns = [\"b\"]\n"),
              HasSubstr("not in capture.columns"));
  EXPECT_THAT(refusal(kTables + "rename = { a = \"b\" }\nexclude = [\"a\"]\n"),
              HasSubstr("capture.rename"));
  EXPECT_THAT(refusal(kTables + "rename = { a = \"c\", b = \"c\" }\n"),
              HasSubstr("columns a and b would both be c"));
  EXPECT_THAT(refusal(kTables + "rename = { a = \"b\" }\ncolumns = [\"a\", \"b\"]\n"),
              HasSubstr("would both be b"));
  EXPECT_THAT(refusal(kTables + "hash_salt = \"x\"\n"), HasSubstr("capture.hash is not"));
  EXPECT_EQ(refusal(kTables + "rename = { a = \"b\", b = \"a\" }\n"), "") << "they change names";
  EXPECT_EQ(refusal(kTables + "rename = { a = \"b\" }\nhash = [\"a\"]\nexclude = [\"b\"]\n"), "");
}

TEST(CaptureConfig, RefusesSubjectsThatNatsCannotCarry) {
  for (const char* subject : {"", "a b", "a..b", ".a", "a.", "a.*", "a.>", "$SYS.a", "_INBOX.a"})
    EXPECT_THAT(refusal(kTables + "subject = \"" + subject + "\"\n"), HasSubstr("not a subject"))
        << subject;
}

TEST(CaptureConfig, SubjectsByAColumnsValue) {
  const auto rule =
      read(kTables +
           "subject_column = \"region\"\nsubject_values = { eu = \"a.eu\", \"\" = \"a.{op}\" }\n");
  EXPECT_EQ(rule.subject_column, "region");
  EXPECT_THAT(rule.subject_values,
              ElementsAre(testing::Pair("", "a.{op}"), testing::Pair("eu", "a.eu")));
  EXPECT_THAT(refusal(kTables + "subject_column = \"region\"\n"), HasSubstr("need each other"));
  EXPECT_THAT(refusal(kTables + "subject_values = { eu = \"a\" }\n"), HasSubstr("need each other"));
  EXPECT_THAT(refusal(kTables + "subject_column = \"r\"\nsubject_values = { eu = \"a b\" }\n"),
              HasSubstr("not a subject"));
  EXPECT_THAT(refusal(kTables + "subject_column = \"r\"\nsubject_values = { eu = \"{tabel}\" }\n"),
              HasSubstr("did you mean {table}?"));
}

TEST(CaptureConfig, RefusesUnknownPlaceholdersWithTheNearest) {
  const auto said = [](const std::string& subject) {
    return refusal(kTables + "subject = \"" + subject + "\"\n");
  };
  EXPECT_THAT(said("a.{tabel}"),
              testing::AllOf(HasSubstr("{tabel}"), HasSubstr("did you mean {table}?")));
  EXPECT_THAT(said("{shema}.a"), HasSubstr("did you mean {schema}?"));
  EXPECT_THAT(said("a.{colum:region}"), HasSubstr("did you mean {column:NAME}?"));
  EXPECT_THAT(said("a.{column:}"), HasSubstr("did you mean {column:NAME}?"));
  EXPECT_THAT(said("a.{op"), HasSubstr("not closed"));
}

}  // namespace
}  // namespace postrider
