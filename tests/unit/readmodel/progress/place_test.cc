#include "readmodel/progress/place.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

Cursor cursor() {
  return {"A", 100, 90, {1, Lsn{0x500}, 0, std::nullopt}, {7, 8}, 1};
}
Found found(std::uint64_t seq, std::uint64_t ordinal) {
  Found f;
  f.seq = seq;
  f.header.ordinal = ordinal;
  return f;
}

TEST(Place, ANewReadModelReadsFromTheFirstMessage) {
  const auto place = place_in(Cursor{}, StreamView{"A", 1, 50});
  EXPECT_EQ(std::get<ReadFrom>(*place).seq, 1U);
  EXPECT_EQ(std::get<ReadFrom>(*place_in(Cursor{}, StreamView{"A", 0, 0})).seq, 1U);
}

TEST(Place, ReadsFromTheCursorsOwnMessage) {
  EXPECT_EQ(std::get<ReadFrom>(*place_in(cursor(), StreamView{"A", 1, 100})).seq, 100U);
  EXPECT_EQ(std::get<ReadFrom>(*place_in(cursor(), StreamView{"A", 1, 200})).seq, 100U);
}

TEST(Place, TheCursorsOwnMessageMayBeGoneByAge) {
  EXPECT_TRUE(std::holds_alternative<ReadFrom>(*place_in(cursor(), StreamView{"A", 101, 200})));
}

TEST(Place, WhatTheCursorNeedsNextMayNotBeGone) {
  const auto place = place_in(cursor(), StreamView{"A", 102, 200});
  ASSERT_FALSE(place.has_value());
  EXPECT_EQ(place.error().kind, ErrorKind::kStreamBehind);
  EXPECT_NE(place.error().remedy.find("apply rebuild"), std::string::npos);
}

TEST(Place, WaitsForAStreamThatIsShorterOrMissing) {
  EXPECT_TRUE(std::holds_alternative<WaitForStream>(*place_in(cursor(), StreamView{"A", 1, 99})));
  EXPECT_TRUE(std::holds_alternative<WaitForStream>(*place_in(cursor(), std::nullopt)));
  EXPECT_TRUE(std::holds_alternative<WaitForStream>(*place_in(Cursor{}, std::nullopt)));
}

TEST(Place, InAnotherIncarnationSequencesMeanNothing) {
  EXPECT_TRUE(
      std::holds_alternative<SearchByOrdinal>(*place_in(cursor(), StreamView{"B", 1, 500})));
}

TEST(Place, AfterASearchReadsFromTheOrdinalItself) {
  EXPECT_EQ(std::get<ReadFrom>(*place_after_search(cursor(), found(3, 90))).seq, 3U);
}

TEST(Place, AfterASearchTheOrdinalMayBeGoneButNotTheNext) {
  EXPECT_EQ(std::get<ReadFrom>(*place_after_search(cursor(), found(3, 91))).seq, 3U);
  EXPECT_EQ(place_after_search(cursor(), found(3, 92)).error().kind, ErrorKind::kStreamBehind);
}

TEST(Place, AfterASearchWithoutAResultItWaits) {
  EXPECT_TRUE(std::holds_alternative<WaitForStream>(*place_after_search(cursor(), std::nullopt)));
}

TEST(Place, AfterASearchADeclaredHoleIsTheChainsToJudge) {
  auto behind = found(3, 99);
  behind.hole = OrdinalRange{91, 98};
  EXPECT_EQ(std::get<ReadFrom>(*place_after_search(cursor(), behind)).seq, 3U);
  behind.hole = OrdinalRange{50, 98};
  EXPECT_EQ(std::get<ReadFrom>(*place_after_search(cursor(), behind)).seq, 3U);
  behind.hole = OrdinalRange{95, 98};
  EXPECT_EQ(place_after_search(cursor(), behind).error().kind, ErrorKind::kStreamBehind);
}

}  // namespace
}  // namespace postrider
