#include "postrider/position.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace postrider {
namespace {

PositionHeader example() {
  return {.ordinal = 42,
          .position = {.timeline = 1, .commit_lsn = Lsn{0x16B374D848}, .index = 7, .part = {}},
          .fingerprint = {.xid = 731, .commit_time_us = 1764000000123456},
          .epoch = 3,
          .last = true};
}

TEST(Position, SortsAsText) {
  std::vector<Position> positions;
  for (const std::uint32_t timeline : {1U, 2U, 0x10U})
    for (const std::uint64_t lsn : {1ULL, 0xFULL, 0x10ULL, 0x100000000ULL})
      for (const std::uint32_t index : {0U, 9U, 10U})
        for (const auto part : {std::optional<std::uint16_t>{}, std::optional<std::uint16_t>{0},
                                std::optional<std::uint16_t>{11}})
          positions.push_back({timeline, Lsn{lsn}, index, part});
  for (const auto& a : positions)
    for (const auto& b : positions)
      EXPECT_EQ(a < b, a.to_string() < b.to_string()) << a.to_string() << " " << b.to_string();
}

TEST(Position, ReadsWhatItPrints) {
  const Position whole{1, Lsn{0xAB}, 3, {}};
  EXPECT_EQ(whole.to_string(), "00000001/00000000000000AB/00000003");
  EXPECT_EQ(Position::parse(whole.to_string()), whole);
  const Position part{1, Lsn{0xAB}, 3, 2};
  EXPECT_EQ(part.to_string(), "00000001/00000000000000AB/00000003.0002");
  EXPECT_EQ(Position::parse(part.to_string()), part);
}

TEST(PositionHeader, IsOneLineThatOneSplitParses) {
  EXPECT_EQ(example().to_string(),
            "v1 42 00000001/00000016B374D848/00000007 731 1764000000123456 3 last");
}

TEST(PositionHeader, ReadsWhatItPrints) {
  auto header = example();
  EXPECT_EQ(PositionHeader::parse(header.to_string()), header);
  header.last = false;
  header.position.part = 0;
  header.fingerprint.commit_time_us = -1;
  EXPECT_EQ(PositionHeader::parse(header.to_string()), header);
}

TEST(PositionHeader, RefusesEveryTruncationAndSurplus) {
  const auto text = example().to_string();
  const auto without_last = text.substr(0, text.size() - 5);
  for (std::size_t n = 0; n < text.size(); ++n) {
    if (n == without_last.size()) continue;  // the only shorter text that is whole
    EXPECT_FALSE(PositionHeader::parse(text.substr(0, n))) << n;
  }
  EXPECT_FALSE(PositionHeader::parse(text + " "));
  EXPECT_FALSE(PositionHeader::parse(" " + text));
  EXPECT_FALSE(PositionHeader::parse("v2" + text.substr(2)));
}

TEST(PositionHeader, ZeroHasOneText) {
  for (const auto* zero : {"-0", "00", "-00", "-01"})
    EXPECT_FALSE(PositionHeader::parse(
        std::string("v1 42 00000001/00000016B374D848/00000007 731 ") + zero + " 3"))
        << zero;
}

TEST(PositionHeader, RefusesSignsSpacesAndOverflow) {
  const std::string tail = " 00000001/00000016B374D848/00000007 731 1764000000123456 3";
  EXPECT_TRUE(PositionHeader::parse("v1 42" + tail));
  for (const auto* ordinal : {"0", "+42", "-1", "042", " 42", "18446744073709551616", "4 2", ""})
    EXPECT_FALSE(PositionHeader::parse("v1 " + std::string(ordinal) + tail)) << ordinal;
  EXPECT_FALSE(PositionHeader::parse("v1 1 00000001/00000016b374d848/00000007 731 1 3"));
}

TEST(OrdinalRange, IsReadStrictly) {
  const OrdinalRange range{7, 19};
  EXPECT_EQ(range.to_string(), "7-19");
  EXPECT_EQ(OrdinalRange::parse("7-19"), range);
  EXPECT_EQ(OrdinalRange::parse("7-7"), (OrdinalRange{7, 7}));
  for (const auto* text : {"", "7", "7-", "-7", "0-3", "8-7", "7-19 ", "+7-19", "7--19"})
    EXPECT_FALSE(OrdinalRange::parse(text)) << text;
}

}  // namespace
}  // namespace postrider
