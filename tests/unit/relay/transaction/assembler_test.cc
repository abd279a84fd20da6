#include "relay/transaction/assembler.h"

#include <gtest/gtest.h>

#include <deque>

#include "relay/transaction/backfill_reader.h"
#include "tests/unit/relay/wire/pgoutput_bytes.h"

namespace postrider {
namespace {

using namespace postrider::test;

constexpr std::uint32_t kEvents = 9;
constexpr std::uint32_t kOther = 10;
const std::string kNull = "\x01";
const std::string kUnchanged = "\x02";

class AssemblerTest : public ::testing::Test {
 protected:
  AssemblerTest() {
    epochs_.open(1, Lsn{0}, {kEncoderVersion, "shop", true, true});
    epochs_.open(1, Lsn{0x500}, {kEncoderVersion, "shop", true, false});
    EpochSettings captures{.source = "shop"};
    captures.captures = {{.tables = {"public.orders"}}};
    epochs_.open(1, Lsn{0x900}, captures);
    captures.backfill = true;
    epochs_.open(1, Lsn{0xd00}, captures);
    must(relation_bytes(kEvents, "outbox", "events",
                        {"id", "xid", "created_at", "subject", "key", "type", "content_type",
                         "headers", "payload", "payload_bytes"}));
    must(relation_bytes(kOther, "public", "orders", {"id"}));
  }

  Result<Step> feed(const MessageBytes& bytes) {
    texts_.push_back(bytes.text());
    auto message = wire::decode_pgoutput(MessageBytes::of(texts_.back()));
    EXPECT_TRUE(message.has_value());
    return assembler_.feed(*message);
  }
  Step must(const MessageBytes& bytes) {
    auto step = feed(bytes);
    EXPECT_TRUE(step.has_value()) << (step ? "" : step.error().context);
    return step ? *step : Step{};
  }
  ErrorKind error_of(const MessageBytes& bytes) {
    const auto step = feed(bytes);
    EXPECT_FALSE(step.has_value());
    return step ? ErrorKind::kInternal : step.error().kind;
  }
  static MessageBytes event(const std::string& id) {
    return insert_bytes(
        kEvents, {id, "1", "now", "a.b", kNull, kNull, "application/json", kNull, "{}", kNull});
  }

  Epochs epochs_;
  TimelineHistory history_{1};
  Assembler assembler_{history_, epochs_};
  std::deque<std::string> texts_;
};

TEST_F(AssemblerTest, MarksTheLastEventOfATransactionAndOnlyThat) {
  EXPECT_TRUE(must(begin_bytes(0x100, 7)).begin);
  EXPECT_FALSE(must(event("one")).event) << "held until it is known whether another follows";
  const auto first = must(event("two"));
  ASSERT_TRUE(first.event);
  EXPECT_EQ(first.event->event->id, "one");
  EXPECT_FALSE(first.event->last);
  const auto end = must(commit_bytes(0x100, 0x120));
  ASSERT_TRUE(end.event && end.end);
  EXPECT_EQ(end.event->event->id, "two");
  EXPECT_TRUE(end.event->last);
  EXPECT_EQ(end.end->end_lsn, Lsn{0x120});
}

TEST_F(AssemblerTest, APartitionUnderItsOwnNameIsAnAlteredPublication) {
  must(begin_bytes(0x100, 7));
  must(relation_bytes(11, "outbox", "events_20260101", {"id"}));
  const auto step = feed(insert_bytes(11, {"1"}));
  ASSERT_FALSE(step.has_value());
  EXPECT_EQ(step.error().kind, ErrorKind::kPublicationMissing);
}

TEST_F(AssemblerTest, AnIndexCountsAllDecodedChanges) {
  must(begin_bytes(0x100, 7));
  must(insert_bytes(kOther, {"1"}));
  must(event("one"));
  must(message_bytes(true, "somebody else's", "x"));
  const auto first = must(message_bytes(true, "postrider", outbox_content("w", "p")));
  EXPECT_EQ(first.event->position.index, 0U) << "an epoch without captures counts no rows";
  const auto second = must(commit_bytes(0x100, 0x120));
  EXPECT_EQ(second.event->position.index, 2U);
  EXPECT_EQ(second.event->position.commit_lsn, Lsn{0x100});
  EXPECT_EQ(assembler_.ignored_changes(), 1U);
}

TEST_F(AssemblerTest, CarriesRowChangesFromTheEpochThatCapturesThem) {
  must(begin_bytes(0x800, 7));
  must(insert_bytes(kOther, {"1"}));
  EXPECT_FALSE(must(commit_bytes(0x800, 0x820)).event);

  must(relation_bytes(11, "public", "nobody's", {"id"}));
  must(begin_bytes(0x900, 8));
  must(insert_bytes(kOther, {"1"}));
  must(insert_bytes(11, {"9"}));
  const auto first = must(update_bytes(kOther, 'O', {"1"}, {"2"}));
  ASSERT_TRUE(first.event);
  EXPECT_EQ(first.event->event->subject, "cdc.public.orders");
  EXPECT_EQ(first.event->event->type, "insert");
  EXPECT_EQ(first.event->event->id, "");
  EXPECT_EQ(first.event->position.index, 0U);
  const auto second = must(event("one"));
  EXPECT_EQ(second.event->event->type, "update");
  EXPECT_EQ(second.event->position.index, 2U) << "a table that nobody captures is counted";
  must(delete_bytes(kOther, 'O', {"2"}));
  must(truncate_bytes({kOther}));
  const auto last = must(commit_bytes(0x900, 0x920));
  EXPECT_EQ(last.event->event->type, "truncate");
  EXPECT_EQ(last.event->position.index, 5U);
  EXPECT_TRUE(last.event->last);
}

TEST_F(AssemblerTest, NamesATableOnceThatNoRuleOfTheNewestEpochNames) {
  must(relation_bytes(11, "public", "renamed", {"id"}));
  must(begin_bytes(0x900, 7));
  EXPECT_EQ(must(insert_bytes(11, {"1"})).unmatched, nullptr) << "another epoch may name it";
  must(commit_bytes(0x900, 0x920));
  must(begin_bytes(0xd00, 8));
  must(insert_bytes(kOther, {"1"}));
  const auto step = must(insert_bytes(11, {"2"}));
  ASSERT_NE(step.unmatched, nullptr);
  EXPECT_EQ(step.unmatched->name, "renamed");
  EXPECT_EQ(must(insert_bytes(11, {"3"})).unmatched, nullptr) << "said already";
  const auto last = must(delete_bytes(kOther, 'O', {"1"}));
  EXPECT_EQ(last.unmatched, nullptr);
  must(relation_bytes(11, "public", "again", {"id"}));
  ASSERT_NE(must(insert_bytes(11, {"4"})).unmatched, nullptr);
}

TEST_F(AssemblerTest, BackfilledRowsStandAmongTheOthersAndAreCountedOneByOne) {
  const std::string content =
      "{\"v\":1,\"kind\":\"rows\",\"schema\":\"public\",\"table\":\"orders\",\"identity\":\"d\","
      "\"columns\":[[\"id\",23,true],[\"v\",25,false]]}\n(1,a)(2,)";
  must(begin_bytes(0xd00, 7));
  ASSERT_TRUE(assembler_.carries_backfill());
  must(message_bytes(true, "somebody else's", "x"));
  BackfillReader reader;
  ASSERT_TRUE(reader.open({true, wire::kBackfillMessagePrefix, wire::as_bytes(content)}));
  const auto next = [&] {
    auto change = reader.next();
    EXPECT_TRUE(change && *change);
    return *assembler_.feed(**change);
  };
  EXPECT_FALSE(next().event);
  const auto first = next();
  ASSERT_TRUE(first.event);
  EXPECT_EQ(first.event->event->payload,
            R"({"op":"read","schema":"public","table":"orders","new":{"id":1,"v":"a"}})");
  EXPECT_EQ(first.event->event->type, "read");
  EXPECT_EQ(first.event->event->key, "1");
  EXPECT_EQ(first.event->position.index, 1U);
  EXPECT_FALSE(*reader.next());
  const auto second = must(commit_bytes(0xd00, 0xd20));
  EXPECT_EQ(second.event->position.index, 2U);
  EXPECT_TRUE(second.event->last);
}

TEST_F(AssemblerTest, AnEpochWithoutBackfillsCountsNoMessages) {
  must(begin_bytes(0x900, 7));
  EXPECT_FALSE(assembler_.carries_backfill());
  must(message_bytes(true, "postrider.backfill", "x"));
  must(insert_bytes(kOther, {"1"}));
  EXPECT_EQ(must(commit_bytes(0x900, 0x920)).event->position.index, 0U);
}

TEST_F(AssemblerTest, ARowThatTookAnotherKeyAndIsNotWholeIsTold) {
  must(begin_bytes(0xd00, 7));
  must(table_bytes(12, "public", "orders", 'd', 2, {{"id", 23}, {"part"}, {"big"}}));
  EXPECT_FALSE(must(update_bytes(12, 0, {}, {"1", "p", kUnchanged})).moved)
      << "the key is the same";
  EXPECT_FALSE(must(update_bytes(12, 'K', {"1", "p", kNull}, {"2", "p", "b"})).moved)
      << "all is there";
  const auto step =
      must(update_bytes(12, 'K', {"1", "long", kNull}, {"2", kUnchanged, kUnchanged}));
  ASSERT_TRUE(step.moved);
  EXPECT_EQ(step.moved->table, 12U);
  ASSERT_EQ(step.moved->key.size(), 2U);
  EXPECT_EQ(step.moved->key[0], (std::pair<std::string_view, std::string_view>("id", "2")));
  EXPECT_EQ(step.moved->key[1], (std::pair<std::string_view, std::string_view>("part", "long")));
}

TEST_F(AssemblerTest, ARowThatIsNotAsWideAsItsTableIsNoRow) {
  must(begin_bytes(0xd00, 7));
  must(table_bytes(12, "public", "notes", 'd', 2, {{"id", 23}, {"part"}, {"big"}}));
  EXPECT_EQ(error_of(update_bytes(12, 'K', {"1"}, {"2", kUnchanged, kUnchanged})),
            ErrorKind::kProtocol);
  EXPECT_EQ(error_of(insert_bytes(12, {"1", "p"})), ErrorKind::kProtocol);
  EXPECT_EQ(error_of(delete_bytes(12, 'O', {"1", "p", "b", "c"})), ErrorKind::kProtocol);
}

TEST_F(AssemblerTest, InsertsOfAnExistingOutboxAreEventsAndWhatFollowsThemIsCountedAlone) {
  EpochSettings outboxes{.source = "shop"};
  outboxes.outboxes = {{.table = "public.orders", .key = "", .type = "", .payload = "id"}};
  outboxes.outboxes[0].subject = "o";
  outboxes.captures = {{.tables = {"public.*"}}};
  epochs_.open(1, Lsn{0xe00}, outboxes);
  const auto ignored = assembler_.ignored_changes();
  must(begin_bytes(0xe00, 9));
  must(insert_bytes(kOther, {"1"}));
  const auto deleted = must(delete_bytes(kOther, 'K', {"1"}));
  EXPECT_FALSE(deleted.event);
  must(truncate_bytes({kOther}));
  EXPECT_EQ(assembler_.ignored_changes(), ignored);
  must(update_bytes(kOther, 0, {}, {"2"}));
  EXPECT_EQ(assembler_.ignored_changes(), ignored + 1);
  const auto first = must(insert_bytes(kOther, {"3"}));
  EXPECT_EQ(first.event->event->id, "1");
  EXPECT_EQ(first.event->event->subject, "o");
  const auto last = must(commit_bytes(0xe00, 0xe20));
  EXPECT_EQ(last.event->event->id, "3");
  EXPECT_EQ(last.event->position.index, 4U);
  must(begin_bytes(0xf00, 9));
  must(insert_bytes(kOther, {"4"}));
  EXPECT_EQ(feed(insert_bytes(kOther, {kNull})).error().kind, ErrorKind::kMalformedEvent);
}

// ALTER TABLE between two changes of one transaction.
TEST_F(AssemblerTest, ATableIsReadAsItsNewestDescriptionSays) {
  must(begin_bytes(0x900, 8));
  must(insert_bytes(kOther, {"1"}));
  must(relation_bytes(kOther, "public", "orders", {"id", "added"}));
  const auto first = must(insert_bytes(kOther, {"2", "x"}));
  EXPECT_EQ(first.event->event->payload,
            R"({"op":"insert","schema":"public","table":"orders","new":{"id":"1"}})");
  EXPECT_EQ(must(commit_bytes(0x900, 0x920)).event->event->payload,
            R"({"op":"insert","schema":"public","table":"orders","new":{"id":"2","added":"x"}})");
  must(begin_bytes(0xa00, 9));
  EXPECT_EQ(feed(insert_bytes(kOther, {"3"})).error().kind, ErrorKind::kProtocol)
      << "a row of another width";
}

TEST_F(AssemblerTest, AnEmptyTransactionEndsWithoutAnEvent) {
  must(begin_bytes(0x100, 7));
  const auto end = must(commit_bytes(0x100, 0x120));
  EXPECT_FALSE(end.event);
  EXPECT_TRUE(end.end);
}

TEST_F(AssemblerTest, AMessageOutsideATransactionIsNeverCarried) {
  const auto step = must(message_bytes(false, "postrider", outbox_content("w", "p")));
  EXPECT_FALSE(step.event);
  must(begin_bytes(0x100, 7));
  EXPECT_FALSE(must(message_bytes(false, "postrider", outbox_content("w", "p"))).event);
  EXPECT_FALSE(must(commit_bytes(0x100, 0x120)).event);
}

TEST_F(AssemblerTest, TheEpochOfTheCommitDecidesWhetherMessagesAreCarried) {
  must(begin_bytes(0x500, 7));
  must(message_bytes(true, "postrider", outbox_content("w", "p")));
  must(event("one"));
  const auto end = must(commit_bytes(0x500, 0x520));
  ASSERT_TRUE(end.event);
  EXPECT_EQ(end.event->event->id, "one");
  EXPECT_EQ(end.event->position.index, 0U) << "nor are they counted";
  EXPECT_EQ(end.event->epoch->number, 2U);
}

TEST_F(AssemblerTest, RefusesWhatTheProtocolForbids) {
  EXPECT_EQ(feed(event("x")).error().kind, ErrorKind::kProtocol);
  EXPECT_EQ(feed(commit_bytes(1, 2)).error().kind, ErrorKind::kProtocol);
  must(begin_bytes(0x100, 7));
  EXPECT_EQ(feed(begin_bytes(0x200, 8)).error().kind, ErrorKind::kProtocol);
  EXPECT_EQ(feed(insert_bytes(77, {"x"})).error().kind, ErrorKind::kProtocol);
  EXPECT_EQ(feed(commit_bytes(0x101, 0x120)).error().kind, ErrorKind::kProtocol);
}

TEST_F(AssemblerTest, RefusesRowsThatEmitNeverWrites) {
  must(begin_bytes(0x100, 7));
  const auto both =
      insert_bytes(kEvents, {"id", "1", "now", "a", kNull, kNull, "x", kNull, "{}", "\\x00"});
  EXPECT_EQ(feed(both).error().kind, ErrorKind::kMalformedEvent);
  const auto neither =
      insert_bytes(kEvents, {"id", "1", "now", "a", kNull, kNull, "x", kNull, kNull, kNull});
  EXPECT_EQ(feed(neither).error().kind, ErrorKind::kMalformedEvent);
  const auto no_subject =
      insert_bytes(kEvents, {"id", "1", "now", kNull, kNull, kNull, "x", kNull, "{}", kNull});
  EXPECT_EQ(feed(no_subject).error().kind, ErrorKind::kMalformedEvent);
  EXPECT_EQ(feed(insert_bytes(kEvents, {"id"})).error().kind, ErrorKind::kMalformedEvent);
}

TEST_F(AssemblerTest, BytesAreDecodedFromHex) {
  must(begin_bytes(0x100, 7));
  must(insert_bytes(kEvents, {"id", "1", "now", "a", "k", "t", "x", kNull, kNull, "\\x00ff10"}));
  const auto end = must(commit_bytes(0x100, 0x120));
  EXPECT_EQ(end.event->event->payload, std::string("\x00\xff\x10", 3));
  EXPECT_EQ(end.event->event->key, "k");
}

}  // namespace
}  // namespace postrider
