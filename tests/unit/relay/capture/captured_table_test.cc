#include "relay/capture/captured_table.h"

#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>

#include "tests/unit/relay/wire/pgoutput_bytes.h"

namespace postrider {
namespace {

using namespace postrider::test;

const std::string kNull = "\x01";
const std::string kUnchanged = "\x02";

class CapturedTableTest : public ::testing::Test {
 protected:
  // Columns: id (key), flag bool, n numeric, doc jsonb, big text.
  void describe(char identity = 'd', const CaptureRule& rule = {.tables = {"*.*"}}) {
    texts_.push_back(table_bytes(9, "public", "t", identity, identity == 'f' ? 5 : 1,
                                 {{"id", 20}, {"flag", 16}, {"n", 1700}, {"doc", 3802}, {"big"}})
                         .text());
    const auto relation = wire::decode_pgoutput(MessageBytes::of(texts_.back()));
    table_.emplace(std::get<wire::Relation>(*relation), rule);
  }
  wire::Tuple tuple(const std::vector<std::string>& values) {
    texts_.push_back(insert_bytes(9, values).text());
    return std::get<wire::Insert>(*wire::decode_pgoutput(MessageBytes::of(texts_.back()))).row;
  }
  std::string insert(const std::vector<std::string>& values) {
    const auto row = tuple(values);
    return write({.op = RowOp::kInsert, .row = &row});
  }
  std::string update(char marker, const std::vector<std::string>& old,
                     const std::vector<std::string>& values) {
    const auto row = tuple(values);
    const auto before = tuple(old);
    return write({.op = RowOp::kUpdate,
                  .row = &row,
                  .old = marker == 0 ? nullptr : &before,
                  .old_is_full = marker == 'O'});
  }
  std::string remove(char marker, const std::vector<std::string>& old) {
    const auto before = tuple(old);
    return write({.op = RowOp::kDelete, .old = &before, .old_is_full = marker == 'O'});
  }
  std::string write(RowChange change) {
    change.source = "shop";
    change.commit_lsn = Lsn{0x2A};
    change.fingerprint = {77, 1'767'225'600'123'456};
    EXPECT_TRUE(table_->write(change, event_).has_value());
    EXPECT_TRUE(nlohmann::json::accept(event_.payload)) << event_.payload;
    return event_.payload;
  }

  std::deque<std::string> texts_;
  std::optional<CapturedTable> table_;
  OutboxEvent event_;
};

TEST_F(CapturedTableTest, WritesValuesByTheirTypes) {
  describe();
  EXPECT_EQ(insert({"9223372036854775807", "t", "0.10", R"({"a": 0.10})", "q\"\\\n\x7f\xc3\xa9"}),
            "{\"op\":\"insert\",\"schema\":\"public\",\"table\":\"t\",\"new\":{"
            "\"id\":9223372036854775807,\"flag\":true,\"n\":\"0.10\",\"doc\":{\"a\": 0.10},"
            "\"big\":\"q\\\"\\\\\\n\x7f\xc3\xa9\"}}");
  EXPECT_EQ(event_.key, "9223372036854775807");
  EXPECT_EQ(event_.type, "insert");
  EXPECT_EQ(event_.subject, "cdc.public.t");
}

TEST_F(CapturedTableTest, TellsNullFromJsonNullFromUnchanged) {
  describe();
  EXPECT_EQ(update(0, {}, {"1", kNull, kNull, "null", kUnchanged}),
            R"({"op":"update","schema":"public","table":"t",)"
            R"("new":{"id":1,"flag":null,"n":null,"doc":null},)"
            R"("unchanged":["big"],"json_null":["doc"]})");
}

TEST_F(CapturedTableTest, AKeyChangeCarriesTheOldKeyAlone) {
  describe();
  EXPECT_EQ(update('K', {"1", kNull, kNull, kNull, kNull}, {"2", "f", "1", "[]", "x"}),
            R"({"op":"update","schema":"public","table":"t",)"
            R"("new":{"id":2,"flag":false,"n":"1","doc":[],"big":"x"},"old":{"id":1}})");
  EXPECT_EQ(event_.key, "2");
  EXPECT_EQ(remove('K', {"2", kNull, kNull, kNull, kNull}),
            R"({"op":"delete","schema":"public","table":"t","old":{"id":2}})");
  EXPECT_EQ(event_.key, "2");
}

TEST_F(CapturedTableTest, AFullIdentityGivesTheOldRowAndUnchangedValues) {
  describe('f');
  EXPECT_EQ(update('O', {"1", "t", "NaN", "null", "large"}, {"1", "f", "NaN", "1", kUnchanged}),
            R"({"op":"update","schema":"public","table":"t",)"
            R"("new":{"id":1,"flag":false,"n":"NaN","doc":1,"big":"large"},)"
            R"("old":{"id":1,"flag":true,"n":"NaN","doc":null,"big":"large"},)"
            R"("old_json_null":["doc"]})");
  EXPECT_EQ(event_.key, std::nullopt) << "which columns are the key, the WAL does not say";
}

TEST_F(CapturedTableTest, LeavesOutAndMasks) {
  describe('f', {.tables = {"*.*"}, .exclude = {"doc", "n"}, .mask = {"big", "flag"}});
  const auto text =
      update('O', {"1", kNull, "7", "{}", "secret"}, {"1", "t", "7", "{}", kUnchanged});
  EXPECT_EQ(text,
            R"({"op":"update","schema":"public","table":"t",)"
            R"("new":{"id":1,"flag":"***","big":"***"},"old":{"id":1,"flag":null,"big":"***"}})");
  describe('d', {.tables = {"*.*"},
                 .subject = "x.{key}.{column:big}",
                 .columns = {"id", "big"},
                 .mask = {"id", "big"}});
  EXPECT_EQ(insert({"1", "t", "7", "{}", "secret"}),
            R"({"op":"insert","schema":"public","table":"t","new":{"id":"***","big":"***"}})");
  EXPECT_EQ(event_.key, "***");
  EXPECT_EQ(event_.subject, "x.%2A%2A%2A.%2A%2A%2A");
}

// The hashes are sha256sum's, of "s\n" and the text.
TEST_F(CapturedTableTest, HashesWhatIsNotNull) {
  const std::string of_big = "635cad9a823d6c9f829ee5e6ecfa99fd56631e26caa92964604b05fe5c3f55dd";
  const std::string of_true = "33020f57dc5c58a7ee91e5dd2e3d84dc8b8f112fe993d6edc662fa3fdfeb645f";
  const std::string of_null = "bd2a6c25a0e2f2e80d94b729858fde450b165e0fef09d6be88847dda60a01f68";
  CaptureRule rule{.tables = {"*.*"},
                   .subject = "x.{column:big}",
                   .exclude = {"n"},
                   .hash = {"big", "flag", "doc"},
                   .hash_salt = "s\n"};
  describe('f', rule);
  EXPECT_EQ(update('O', {"1", kNull, "7", "null", "\xc3\xa9x"}, {"1", "t", "7", kNull, kUnchanged}),
            R"({"op":"update","schema":"public","table":"t","new":{"id":1,"flag":")" + of_true +
                R"(","doc":null,"big":")" + of_big + R"("},"old":{"id":1,"flag":null,"doc":")" +
                of_null + R"(","big":")" + of_big + R"("}})")
      << "JSON's null is hashed like other text";
  EXPECT_EQ(event_.subject, "x." + of_big);
  const auto row = tuple({"1", "t", "7", kNull, "\xc3\xa9x"});
  EXPECT_EQ(write({.op = RowOp::kRead, .row = &row}),
            R"({"op":"read","schema":"public","table":"t","new":{"id":1,"flag":")" + of_true +
                R"(","doc":null,"big":")" + of_big + R"("}})")
      << "of a backfill, too";
  describe('d', rule);
  EXPECT_NE(insert({"1", "t", "7", kNull, kUnchanged}).find(R"("unchanged":["big"])"),
            std::string::npos);
  rule.format = RowFormat::kDebezium;
  rule.hash = {"id"};
  rule.hash_salt = "";
  describe('d', rule);
  const auto json = nlohmann::json::parse(insert({"", "t", "7", kNull, "x"}));
  EXPECT_EQ(json["after"]["id"],
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(event_.key, json["after"]["id"]) << "the key tells no more than the row";
}

TEST_F(CapturedTableTest, RenamesEverywhereButInTheRule) {
  CaptureRule rule{.tables = {"*.*"},
                   .subject = "{key}.{column:big}",
                   .mask = {"doc"},
                   .rename = {{"id", "ID \"x\""}, {"big", "doc"}, {"doc", "big"}}};
  describe('d', rule);
  EXPECT_EQ(update('K', {"1", kNull, kNull, kNull, kNull}, {"2", "f", "1", "null", kUnchanged}),
            R"({"op":"update","schema":"public","table":"t",)"
            R"("new":{"ID \"x\"":2,"flag":false,"n":"1","big":"***"},"old":{"ID \"x\"":1},)"
            R"("unchanged":["doc"]})");
  EXPECT_EQ(event_.key, "2");
  insert({"1", "t", kNull, "null", "Y"});
  EXPECT_EQ(event_.subject, "1.Y") << "by the table's own name";
  rule.mask = {};
  rule.format = RowFormat::kDebezium;
  describe('f', rule);
  const auto json = nlohmann::json::parse(remove('O', {"1", kNull, kNull, "{}", "Y"}));
  EXPECT_EQ(json["before"]["doc"], "Y");
  EXPECT_EQ(json["before"]["big"], "{}");
  rule.format = RowFormat::kPostrider;
  describe('d', rule);
  EXPECT_NE(insert({"1", "t", kNull, "null", "Y"}).find(R"("json_null":["big"])"),
            std::string::npos);
}

// The table came to have the name after the rule was made: migrate refuses it before.
TEST_F(CapturedTableTest, NeverGivesANameTwice) {
  describe('d', {.tables = {"*.*"}, .rename = {{"id", "flag"}, {"n", "id"}, {"doc", "new"}}});
  EXPECT_EQ(insert({"1", "t", "2", "3", "x"}),
            R"({"op":"insert","schema":"public","table":"t",)"
            R"("new":{"id":1,"flag":true,"n":"2","new":3,"big":"x"}})");
  describe('d', {.tables = {"*.*"}, .exclude = {"flag"}, .rename = {{"id", "flag"}}});
  EXPECT_NE(insert({"1", "t", "2", "3", "x"}).find(R"("flag":1)"), std::string::npos);
}

TEST_F(CapturedTableTest, MakesSubjectsThatStayWithinTheirTokens) {
  describe('d', {.tables = {"*.*"}, .subject = "{schema}.{op}.{column:big}.{column:n}.end"});
  insert({"1", "t", kNull, "{}", "a.b>*\r\n\xc3\xa9"});
  EXPECT_EQ(event_.subject, "public.insert.a%2Eb%3E%2A%0D%0A%C3%A9.%00%00.end");
  insert({"1", "t", "", "{}", std::string(100, 'x') + "1"});
  const auto first = event_.subject;
  insert({"1", "t", "", "{}", std::string(100, 'x') + "2"});
  EXPECT_NE(event_.subject, first) << "cut values stay apart";
  EXPECT_LT(event_.subject.size(), 140U);
  EXPECT_NE(first.find(".%00.end"), std::string::npos) << first;
}

TEST_F(CapturedTableTest, ChoosesTheSubjectByAColumnsValue) {
  CaptureRule rule{.tables = {"*.*"},
                   .subject = "rest.{op}",
                   .subject_column = "big",
                   .subject_values = {{"eu", "eu.{table}"}, {"", "nothing"}},
                   .rename = {{"big", "region"}}};
  describe('d', rule);
  const auto subject = [&](const std::string& value) {
    insert({"1", "t", "2", "{}", value});
    return event_.subject;
  };
  EXPECT_EQ(subject("eu"), "eu.t");
  EXPECT_EQ(subject("EU"), "rest.insert");
  EXPECT_EQ(subject(""), "nothing");
  EXPECT_EQ(subject(kNull), "rest.insert");
  EXPECT_EQ(subject(kUnchanged), "rest.insert") << "the WAL does not tell";
  remove('K', {"1", kNull, kNull, kNull, kNull});
  EXPECT_EQ(event_.subject, "rest.delete");
  write({.op = RowOp::kTruncate});
  EXPECT_EQ(event_.subject, "rest.truncate");
  describe('f', rule);
  remove('O', {"1", "t", "2", "{}", "eu"});
  EXPECT_EQ(event_.subject, "eu.t");
}

TEST_F(CapturedTableTest, KeysAreFitForAHeader) {
  texts_.push_back(table_bytes(9, "", "t", 'd', 2, {{"a"}, {"b"}}).text());
  const auto relation = wire::decode_pgoutput(MessageBytes::of(texts_.back()));
  table_.emplace(std::get<wire::Relation>(*relation), CaptureRule{.tables = {"*.*"}});
  insert({" x,\r\n", "50%"});
  EXPECT_EQ(event_.key, "%20x%2C%0D%0A,50%25");
}

TEST_F(CapturedTableTest, ATruncationHasNoRows) {
  describe();
  EXPECT_EQ(write({.op = RowOp::kTruncate}), R"({"op":"truncate","schema":"public","table":"t"})");
  EXPECT_EQ(event_.key, std::nullopt);
}

TEST_F(CapturedTableTest, WritesDebeziumsEnvelope) {
  describe('d', {.tables = {"*.*"}, .format = RowFormat::kDebezium});
  const auto json = nlohmann::json::parse(update('K', {"1", kNull, kNull, kNull, kNull},
                                                 {"2", "f", "1.50", R"({"a": 1})", kUnchanged}));
  EXPECT_EQ(json["op"], "u");
  EXPECT_EQ(json["before"]["id"], 1);
  EXPECT_TRUE(json["before"]["big"].is_null());
  EXPECT_EQ(json["after"]["n"], "1.50");
  EXPECT_EQ(json["after"]["doc"], R"({"a": 1})");
  EXPECT_EQ(json["after"]["big"], "__debezium_unavailable_value");
  EXPECT_EQ(json["ts_ms"], 1'767'225'600'123);
  EXPECT_EQ(json["source"]["table"], "t");
  EXPECT_EQ(json["source"]["lsn"], 0x2A);
  EXPECT_EQ(json["source"]["txId"], 77);
  insert({"1", kNull, kNull, kNull, "x"});
  EXPECT_NE(event_.payload.find(R"("before":null,"after":{"id":1)"), std::string::npos);
  remove('K', {"1", kNull, kNull, kNull, kNull});
  EXPECT_NE(event_.payload.find(R"("after":null)"), std::string::npos);
  EXPECT_NE(event_.payload.find(R"("op":"d")"), std::string::npos);
}

}  // namespace
}  // namespace postrider
