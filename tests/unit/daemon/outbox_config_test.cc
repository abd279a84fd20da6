#include "daemon/outbox_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace postrider {
namespace {

using testing::HasSubstr;

const std::string kTable = "table = \"public.outbox\"\n";

OutboxRule read(const std::string& text) {
  std::vector<OutboxRule> rules;
  add_outbox("a.toml", toml::parse("\n" + text), rules);
  return rules.at(0);
}

std::string refusal(const std::string& text, std::vector<OutboxRule> before = {}) {
  try {
    add_outbox("a.toml", toml::parse("\n" + text), before);
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error().kind, ErrorKind::kConfiguration);
    EXPECT_FALSE(failure.error().remedy.empty()) << failure.what();
    return failure.what();
  }
  return "";
}

TEST(OutboxConfig, NeedsTheTableAloneAndReadsEveryKey) {
  EXPECT_EQ(read(kTable), OutboxRule{.table = "public.outbox"});
  EXPECT_EQ(read("table = \"s.t\"\nsubject = \"a.{key}\"\nid = \"i\"\nkey = \"k\"\ntype = \"\"\n"
                 "payload = \"p\"\nheader_columns = { traceparent = \"tp\" }\n"
                 "content_type = \"text/plain\"\n"),
            (OutboxRule{.table = "s.t",
                        .subject = "a.{key}",
                        .id = "i",
                        .key = "k",
                        .type = "",
                        .payload = "p",
                        .header_columns = {{"traceparent", "tp"}},
                        .content_type = "text/plain"}));
  EXPECT_EQ(read(kTable + "headers = \"h\"\n").headers, "h");
}

TEST(OutboxConfig, RefusesWithTheRemedy) {
  EXPECT_THAT(refusal(""), HasSubstr("outbox.table is not set"));
  EXPECT_THAT(refusal("table = \"outbox\"\n"), HasSubstr("outbox.table"));
  EXPECT_THAT(refusal("table = \"public.*\"\n"), HasSubstr("outbox.table"));
  EXPECT_THAT(refusal(kTable, {{.table = "public.outbox"}}), HasSubstr("two rules"));
  EXPECT_THAT(refusal(kTable + "payloda = \"p\"\n"), HasSubstr("outbox.payload"));
  EXPECT_THAT(refusal(kTable + "id = \"\"\n"), HasSubstr("outbox.id"));
  EXPECT_THAT(refusal(kTable + "payload = \"\"\n"), HasSubstr("outbox.payload"));
  EXPECT_THAT(refusal(kTable + "subject = \"a.{op}\"\n"), HasSubstr("{op}"));
  EXPECT_THAT(refusal(kTable + "subject = \"a.{key}\"\nkey = \"\"\n"), HasSubstr("{key}"));
  EXPECT_THAT(refusal(kTable + "subject = \"a b\"\n"), HasSubstr("not a subject"));
  EXPECT_THAT(refusal(kTable + "headers = \"h\"\nheader_columns = { a = \"b\" }\n"),
              HasSubstr("exclude each other"));
  for (const char* name : {"Nats-Msg-Id", "postrider-id", "ce-id", "Content-Type"})
    EXPECT_THAT(refusal(kTable + "header_columns = { " + name + " = \"b\" }\n"),
                HasSubstr("is reserved"))
        << name;
  EXPECT_THAT(refusal(kTable + "header_columns = { \"a b\" = \"b\" }\n"),
              HasSubstr("not of the form"));
  EXPECT_THAT(refusal(kTable + "content_type = \"a\\nb\"\n"), HasSubstr("outbox.content_type"));
}

TEST(OutboxConfig, KeepsApartFromCaptures) {
  const std::vector<OutboxRule> rules = {{.table = "public.outbox"}};
  EXPECT_THROW(require_apart(rules, {{.tables = {"a.b", "public.outbox"}}}), Failure);
  EXPECT_NO_THROW(require_apart(rules, {{.tables = {"public.*"}}})) << "the rule is the nearer one";
}

}  // namespace
}  // namespace postrider
