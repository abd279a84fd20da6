#include "readmodel/progress/row_parts.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

ReceivedEvent message(std::uint32_t index, std::optional<std::uint16_t> part, std::uint32_t parts,
                      const std::string& payload, bool last = false) {
  ReceivedEvent event;
  event.place.ordinal = 10 + index + part.value_or(0);
  event.place.position = {1, Lsn{0x100}, index, part};
  event.place.last = last;
  event.parts = parts;
  event.payload = payload;
  return event;
}

void expect_torn(RowParts& parts, ReceivedEvent event) {
  const auto added = parts.add(std::move(event));
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().kind, ErrorKind::kTornTransaction);
}

TEST(RowParts, AreJoinedAndWhatIsNoPartPasses) {
  RowParts parts;
  EXPECT_EQ(parts.add(message(0, std::nullopt, 1, "a")).value()->payload, "a");
  EXPECT_FALSE(parts.add(message(1, 0, 3, "b")).value());
  EXPECT_FALSE(parts.add(message(1, 1, 3, "c")).value());
  const auto row = parts.add(message(1, 2, 3, "d", true)).value();
  ASSERT_TRUE(row);
  EXPECT_EQ(row->payload, "bcd");
  EXPECT_EQ(row->place.ordinal, 11U) << "where it begins";
  EXPECT_EQ(row->place.position.part, std::nullopt);
  EXPECT_TRUE(row->place.last);
  EXPECT_FALSE(parts.add(message(2, 0, 2, "e")).value());
  EXPECT_EQ(parts.add(message(2, 1, 2, "f")).value()->payload, "ef");
}

TEST(RowParts, ATombstoneIsWholeAndFollowsARow) {
  RowParts parts;
  EXPECT_TRUE(parts.add(message(1, std::nullopt, 1, "deleted")).value());
  const auto tombstone = parts.add(message(1, 1, 1, "")).value();
  ASSERT_TRUE(tombstone);
  EXPECT_EQ(tombstone->place.position.part, 1);
  EXPECT_FALSE(parts.add(message(2, 0, 2, "a")).value());
  expect_torn(parts, message(2, 2, 1, ""));
}

TEST(RowParts, ThatDoNotBelongTogetherAreTorn) {
  const auto begun = [] {
    RowParts parts;
    EXPECT_FALSE(parts.add(message(1, 0, 3, "b")).value());
    return parts;
  };
  RowParts none;
  expect_torn(none, message(1, 1, 3, "no beginning"));
  for (auto& wrong : {message(1, 2, 3, "one left out"), message(1, 0, 3, "twice"),
                      message(2, 1, 3, "another row"), message(1, 1, 4, "another count"),
                      message(2, std::nullopt, 1, "no part")}) {
    auto parts = begun();
    expect_torn(parts, wrong);
  }
  expect_torn(none, message(1, 0, 0, "an unreadable count"));
  expect_torn(none, message(1, std::nullopt, 2, "a count without a part"));
}

}  // namespace
}  // namespace postrider
