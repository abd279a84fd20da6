#include "relay/capture/existing_outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "relay/capture/row_value.h"
#include "tests/unit/relay/wire/pgoutput_bytes.h"

namespace postrider {
namespace {

using namespace postrider::test;
using testing::HasSubstr;

const std::string kNull = "\x01";

class ExistingOutboxTest : public ::testing::Test {
 protected:
  // Debezium's columns, and one of tracing.
  void describe(std::uint32_t payload, const OutboxRule& rule = {.table = "public.outbox"}) {
    texts_.push_back(table_bytes(9, "public", "outbox", 'd', 1,
                                 {{"id", 2950},
                                  {"aggregatetype"},
                                  {"aggregateid"},
                                  {"type"},
                                  {"payload", payload},
                                  {"trace"}})
                         .text());
    const auto relation = wire::decode_pgoutput(MessageBytes::of(texts_.back()));
    outbox_.emplace(std::get<wire::Relation>(*relation), rule);
  }
  Result<void> read(const std::vector<std::string>& values) {
    texts_.push_back(insert_bytes(9, values).text());
    const auto insert = wire::decode_pgoutput(MessageBytes::of(texts_.back()));
    return outbox_->read(std::get<wire::Insert>(*insert).row, event_);
  }
  std::string refusal(const std::vector<std::string>& values) {
    const auto result = read(values);
    if (result) return "";
    EXPECT_EQ(result.error().kind, ErrorKind::kMalformedEvent);
    EXPECT_THAT(result.error().context, HasSubstr("public.outbox"));
    EXPECT_FALSE(result.error().remedy.empty());
    return result.error().context;
  }

  std::deque<std::string> texts_;
  std::optional<ExistingOutbox> outbox_;
  OutboxEvent event_;
};

TEST_F(ExistingOutboxTest, ReadsDebeziumsColumns) {
  describe(pg_type::kJsonb);
  ASSERT_TRUE(read({"id-1", "Order", "42", "OrderPlaced", R"({"a": 1.50})", "x"}));
  EXPECT_EQ(event_.id, "id-1");
  EXPECT_EQ(event_.subject, "outbox.event.Order");
  EXPECT_EQ(event_.key, "42");
  EXPECT_EQ(event_.type, "OrderPlaced");
  EXPECT_EQ(event_.payload, R"({"a": 1.50})");
  EXPECT_EQ(event_.content_type, "application/json");
  EXPECT_EQ(event_.headers, std::nullopt);
  ASSERT_TRUE(read({"id-2", "Order", kNull, kNull, kNull, kNull}));
  EXPECT_EQ(event_.key, std::nullopt);
  EXPECT_EQ(event_.type, std::nullopt);
  EXPECT_EQ(event_.payload, "") << "nothing of the event before";
}

TEST_F(ExistingOutboxTest, PayloadsAreWhatTheColumnHolds) {
  describe(pg_type::kBytea);
  ASSERT_TRUE(read({"1", "a", "b", "c", "\\x00ff0a", "x"}));
  EXPECT_EQ(event_.payload, std::string("\x00\xff\n", 3));
  EXPECT_EQ(event_.content_type, "application/octet-stream");
  EXPECT_THAT(refusal({"1", "a", "b", "c", "\\x0", "x"}), HasSubstr("bytea"));
  describe(25);
  ASSERT_TRUE(read({"1", "a", "b", "c", "\\x00", "x"}));
  EXPECT_EQ(event_.payload, "\\x00") << "text is text";
  EXPECT_EQ(event_.content_type, std::nullopt);
  describe(25, {.table = "public.outbox", .content_type = "application/x"});
  ASSERT_TRUE(read({"1", "a", "b", "c", "d", "x"}));
  EXPECT_EQ(event_.content_type, "application/x");
}

TEST_F(ExistingOutboxTest, MapsColumnsFreely) {
  describe(25, {.table = "public.outbox",
                .subject = "{schema}.{table}.{key}.{column:type}",
                .id = "trace",
                .key = "aggregatetype",
                .type = "",
                .payload = "aggregateid",
                .header_columns = {{"traceparent", "payload"}, {"X", "type"}}});
  ASSERT_TRUE(read({"1", "a.b", "PAY", "t\n", "00-\"ab", "the id"}));
  EXPECT_EQ(event_.id, "the id");
  EXPECT_EQ(event_.subject, "public.outbox.a%2Eb.t%0A");
  EXPECT_EQ(event_.key, "a.b");
  EXPECT_EQ(event_.type, std::nullopt);
  EXPECT_EQ(event_.payload, "PAY");
  EXPECT_EQ(event_.headers, R"({"X":"t%0A","traceparent":"00-\"ab"})");
  ASSERT_TRUE(read({"1", "", "PAY", "", "", "i"}));
  EXPECT_EQ(event_.key, std::nullopt) << "an empty header is none";
  EXPECT_EQ(event_.headers, std::nullopt);
  EXPECT_EQ(event_.subject, "public.outbox.%00.%00");
  ASSERT_TRUE(read({"1", "a", "PAY", "t", kNull, "i"}));
  EXPECT_EQ(event_.headers, R"({"X":"t"})");
  describe(25, {.table = "public.outbox", .headers = "trace"});
  ASSERT_TRUE(read({"1", "a", "b", "c", "d", R"({"h": 1})"}));
  EXPECT_EQ(event_.headers, R"({"h": 1})");
  ASSERT_TRUE(read({"1", "a", "b", "c", "d", kNull}));
  EXPECT_EQ(event_.headers, std::nullopt);
}

TEST_F(ExistingOutboxTest, TextsAreFitForHeaders) {
  describe(25);
  ASSERT_TRUE(read({"a\r\nb", "\r\nPUB x", " 50% of a b\t", "\x7f\xc3\xa9", "p", "x"}));
  EXPECT_EQ(event_.id, "a%0D%0Ab");
  EXPECT_EQ(event_.subject, "outbox.event.%0D%0APUB%20x");
  EXPECT_EQ(event_.key, "%2050%25 of a b%09");
  EXPECT_EQ(event_.type, "%7F\xc3\xa9");
}

TEST_F(ExistingOutboxTest, RefusesRowsThatAreNoEvent) {
  describe(25);
  EXPECT_THAT(refusal({kNull, "a", "b", "c", "d", "x"}), HasSubstr("column id, is NULL or empty"));
  EXPECT_THAT(refusal({"", "a", "b", "c", "d", "x"}), HasSubstr("column id"));
  EXPECT_THAT(refusal({"7", kNull, "b", "c", "d", "x"}),
              testing::AllOf(HasSubstr("id 7"), HasSubstr("{column:aggregatetype}")));
  describe(25, {.table = "public.outbox", .subject = "a.{key}", .key = "none"});
  EXPECT_THAT(refusal({"7", "a", "b", "c", "d", "x"}), HasSubstr("no column none"));
  describe(25, {.table = "public.outbox", .subject = "a.{column:none}"});
  EXPECT_THAT(refusal({"7", "a", "b", "c", "d", "x"}), HasSubstr("{column:none}"));
  EXPECT_EQ(read({"7"}).error().kind, ErrorKind::kProtocol);
}

}  // namespace
}  // namespace postrider
