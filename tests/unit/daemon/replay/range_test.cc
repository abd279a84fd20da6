#include "daemon/replay/range.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

PositionHeader at(std::uint64_t ordinal, std::uint64_t lsn, std::int64_t time_us = 0) {
  PositionHeader header;
  header.ordinal = ordinal;
  header.position = {1, Lsn{lsn}, 0, {}};
  header.fingerprint.commit_time_us = time_us;
  return header;
}

ReplayRange range(const std::string& from, const std::string& until, std::string filter = {}) {
  return {value_or_throw(parse_replay_place(from, "--from")),
          value_or_throw(parse_replay_place(until, "--until")), std::move(filter)};
}

TEST(ReplayRange, BothEndsAreInclusive) {
  for (const auto& [from, until] :
       {std::pair{"ordinal:5", "ordinal:7"}, std::pair{"seq:15", "seq:17"}}) {
    const auto some = range(from, until);
    for (std::uint64_t n = 4; n <= 8; ++n) {
      const bool inside = n >= 5 && n <= 7;
      EXPECT_EQ(some.contains(at(n, n), n + 10, "a"), inside) << from << " " << n;
      EXPECT_EQ(some.is_past_end(at(n, n), n + 10), n > 7);
      EXPECT_EQ(some.is_before_start(at(n, n), n + 10), n < 5);
    }
  }
}

TEST(ReplayRange, StartAndEndTakeEverything) {
  const auto all = range("start", "end");
  EXPECT_TRUE(all.contains(at(1, 1), 1, "a"));
  EXPECT_FALSE(all.is_past_end(at(1, 1), 1));
  EXPECT_FALSE(all.is_before_start(at(1, 1), 1));
  EXPECT_FALSE(all.begins_before(at(9, 1), 1)) << "what is left was asked for";
  EXPECT_FALSE(parse_replay_place("end", "--from").has_value());
}

TEST(ReplayRange, APositionWithoutAPartStandsForTheWholeRow) {
  const auto row =
      range("00000001/0000000000000005/00000000", "00000001/0000000000000005/00000000");
  auto part = at(3, 5);
  part.position.part = 7;
  EXPECT_TRUE(row.contains(part, 3, "a"));
  EXPECT_FALSE(row.contains(at(4, 6), 4, "a"));
  const auto single =
      range("00000001/0000000000000005/00000000.0007", "00000001/0000000000000005/00000000.0007");
  EXPECT_TRUE(single.contains(part, 3, "a"));
  part.position.part = 8;
  EXPECT_FALSE(single.contains(part, 4, "a"));
}

// The clock of a source may be set back: then commits in order have times that are not.
TEST(ReplayRange, ATimeIsLookedForInEveryMessage) {
  const auto hour = range("2026-11-25T16:00:00Z", "2026-11-25T16:59:59.999999Z");
  constexpr std::int64_t kFour = 1795622400'000000;
  EXPECT_TRUE(hour.contains(at(2, 2, kFour), 2, "a"));
  EXPECT_FALSE(hour.contains(at(2, 2, kFour - 1), 2, "a"));
  EXPECT_FALSE(hour.contains(at(2, 2, kFour + 3600'000000), 2, "a"));
  EXPECT_FALSE(hour.is_past_end(at(2, 2, kFour + 3600'000000), 2));
  EXPECT_FALSE(hour.is_before_start(at(2, 2, kFour - 1), 2));
}

TEST(ReplayRange, NamesWhatTheStreamMayHaveForgotten) {
  EXPECT_TRUE(range("ordinal:5", "end").begins_before(at(9, 9), 3));
  EXPECT_FALSE(range("ordinal:9", "end").begins_before(at(9, 9), 3));
  EXPECT_FALSE(range("2020-01-01T00:00:00Z", "end").begins_before(at(1, 9, 1795622400'000000), 3))
      << "nothing was ever before ordinal 1";
}

TEST(ReplayRange, TakesWhatTheFilterMatches) {
  const auto some = range("start", "end", "order.*");
  EXPECT_TRUE(some.contains(at(1, 1), 1, "order.placed"));
  EXPECT_FALSE(some.contains(at(1, 1), 1, "customer.new"));
}

TEST(ReplayRange, RefusesWhatIsNoPlace) {
  for (const auto* text : {"", "ordinal:", "ordinal:-1", "ordinal:1x", "seq: 1", "5", "2026-11-25",
                           "2026-11-25T16:00:00", "2026-11-25T16:00:00+01:00",
                           "2026-13-25T16:00:00Z", "2026-11-25T24:00:00Z", "2026-11-25T16:00:00.Z",
                           "2026-11-25T16:00:00.1234567Z", "2026-11-25T16:00:00.-1Z"})
    EXPECT_FALSE(parse_replay_place(text, "--from").has_value()) << text;
}

}  // namespace
}  // namespace postrider
