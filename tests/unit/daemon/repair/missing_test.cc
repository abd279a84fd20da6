#include "daemon/repair/missing.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

Digest digest(std::uint8_t n) {
  Digest d{};
  d.back() = n;
  return d;
}
OutboxRow row(std::uint8_t id, std::int64_t created_us = 1'000, std::uint64_t xid = 100) {
  return {digest(id), digest(7), xid, created_us, 0};
}
StoredEvent event(std::uint8_t id, std::uint64_t ordinal, std::uint64_t xid = 100) {
  return {digest(id), digest(7), ordinal, xid};
}

MissingRows missing(std::vector<OutboxRow> rows, std::vector<StoredEvent> events,
                    std::uint64_t keep = 100, std::optional<std::int64_t> horizon = {}) {
  MissingRows found;
  find_missing(std::move(rows), std::move(events), keep, horizon, found);
  return found;
}

TEST(MissingRows, AreThoseWithoutAnEvent) {
  const auto found = missing({row(3), row(1), row(2)}, {event(2, 5)});
  ASSERT_EQ(found.rows.size(), 2U);
  EXPECT_EQ(found.rows[0].id, digest(1));
  EXPECT_EQ(found.rows[1].id, digest(3));
  EXPECT_EQ(found.present, 1U);
}

TEST(MissingRows, AnEventThatIsGivenUpIsNone) {
  EXPECT_EQ(missing({row(1), row(2)}, {event(1, 5), event(2, 6)}, 5).rows.size(), 1U);
}

TEST(MissingRows, ARowWrittenTwiceIsOneEvent) {
  EXPECT_EQ(missing({row(1), row(1)}, {}).rows.size(), 1U);
}

TEST(MissingRows, WhatMayHaveAgedOutIsNotSentAgain) {
  const auto found = missing({row(1, 500), row(2, 501)}, {}, 100, 500);
  EXPECT_EQ(found.uncertain, 1U);
  ASSERT_EQ(found.rows.size(), 1U);
  EXPECT_EQ(found.rows[0].id, digest(2));
}

TEST(MissingRows, WhatIsGivenUpIsMissingHoweverOldItIs) {
  const auto found = missing({row(1, 500)}, {event(1, 9)}, 5, 500);
  EXPECT_EQ(found.uncertain, 0U);
  EXPECT_EQ(found.rows.size(), 1U);
}

TEST(LostRows, AreThoseThatTheSlotHasPassedAndThatTheSourceHad) {
  EXPECT_EQ(count_lost({row(1, 500, 99), row(2, 500, 100), row(3, 400, 98)}, 100, 400), 1U);
}

TEST(FirstUnproven, IsTheFirstBehindTheCheckpointWithoutItsRow) {
  const std::vector<OutboxRow> rows = {row(1), row(2)};
  EXPECT_FALSE(first_unproven(rows, {event(3, 4), event(1, 5), event(2, 6)}, 4));
  EXPECT_EQ(first_unproven(rows, {event(1, 5), event(4, 7), event(5, 6)}, 4), 6U);
}

}  // namespace
}  // namespace postrider
