#include "daemon/verify/stream_join.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

Digest digest(std::uint8_t n) {
  Digest d{};
  d.back() = n;
  return d;
}
OutboxRow row(std::uint8_t id, std::uint64_t xid = 100, std::uint64_t command = 0) {
  return {digest(id), digest(7), xid, 1'000, command};
}
StoredEvent event(std::uint8_t id, std::uint64_t ordinal, std::uint64_t xid = 100) {
  return {digest(id), digest(7), ordinal, xid};
}

class StreamJoin : public ::testing::Test {
 protected:
  void run(std::vector<OutboxRow> rows, std::vector<StoredEvent> events, bool accuse = true,
           std::optional<std::int64_t> horizon = {}) {
    join(std::move(rows), std::move(events), horizon, accuse, findings_, counts_, placed_);
  }
  StreamFindings findings_{10};
  JoinCounts counts_;
  std::vector<Placed> placed_;
};

TEST_F(StreamJoin, OfEqualSidesPlacesEachRow) {
  run({row(2), row(1)}, {event(1, 5), event(2, 6)});
  EXPECT_EQ(findings_.total(), 0U);
  EXPECT_EQ(counts_.matched, 2U);
  EXPECT_EQ(placed_.size(), 2U);
}

TEST_F(StreamJoin, FindsALostRowOnceItMayAccuse) {
  run({row(1), row(2)}, {event(1, 5)}, /*accuse=*/false);
  EXPECT_EQ(counts_.missing, 1U);
  EXPECT_EQ(findings_.total(), 0U);
  run({row(1), row(2)}, {event(1, 5)});
  EXPECT_EQ(findings_.count(StreamFault::kLost), 1U);
}

TEST_F(StreamJoin, CountsARowThatMayBeOlderThanTheStream) {
  run({row(1)}, {}, true, 1'000);  // began just then
  EXPECT_EQ(counts_.out_of_range, 1U);
  EXPECT_EQ(findings_.total(), 0U);
  run({row(1)}, {}, true, 999);
  EXPECT_EQ(findings_.count(StreamFault::kLost), 1U);
}

TEST_F(StreamJoin, CountsEventsWithoutARow) {
  run({}, {event(1, 5), event(2, 6)});
  EXPECT_EQ(counts_.without_row, 2U);
  EXPECT_EQ(findings_.total(), 0U);
}

TEST_F(StreamJoin, FindsADuplicateWithAndWithoutARow) {
  run({row(1)}, {event(1, 5), event(1, 9), event(2, 6), event(2, 7)});
  EXPECT_EQ(findings_.count(StreamFault::kDuplicate), 2U);
}

TEST_F(StreamJoin, AllowsAnEventAsOftenAsItWasWritten) {
  run({row(1), row(1)}, {event(1, 5), event(1, 9)});
  run({row(2), row(2)}, {event(2, 6)});
  EXPECT_EQ(findings_.total(), 0U);
}

TEST_F(StreamJoin, FindsAnAlteredEvent) {
  auto other = event(1, 5);
  other.content = digest(8);
  run({row(1)}, {other});
  EXPECT_EQ(findings_.count(StreamFault::kAltered), 1U);
}

TEST_F(StreamJoin, FindsAnEventInAnotherTransaction) {
  run({row(1, (1ULL << 32U) + 100)}, {event(1, 5, 100)});  // the stream lacks the xid's epoch
  EXPECT_EQ(findings_.total(), 0U);
  run({row(1, 100)}, {event(1, 5, 101)});
  EXPECT_EQ(findings_.count(StreamFault::kTorn), 1U);
}

TEST(StatementOrder, FindsAReorderedPairWithinATransaction) {
  StreamFindings findings(10);
  StatementOrder order(findings);
  order.accept({1, 100, 5});
  order.accept({2, 100, 5});  // one statement: cannot be told
  order.accept({3, 101, 2});  // another transaction
  EXPECT_EQ(findings.total(), 0U);
  order.accept({4, 101, 1});
  EXPECT_EQ(findings.count(StreamFault::kOrder), 1U);
}

TEST(ParseDigest, ReadsUuidsAndRefusesAnythingElse) {
  const std::string uuid = "01234567-89ab-cdef-0123-456789abcdef";
  ASSERT_TRUE(parse_digest(uuid));
  EXPECT_EQ(uuid_text(*parse_digest(uuid)), uuid);
  for (const char* text : {"", "0123", "g1234567-89ab-cdef-0123-456789abcdef",
                           "01234567-89ab-cdef-0123-456789abcdef0"})
    EXPECT_FALSE(parse_digest(text)) << text;
}

}  // namespace
}  // namespace postrider
