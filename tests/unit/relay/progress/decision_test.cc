// Every row of the table "when the world moves back" (docs/architecture.md), and the borders
// between them.
#include "relay/progress/decision.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

constexpr Lsn kConfirmed{0x1000};
constexpr Lsn kDurable{0x2000};
constexpr Lsn kTail{0x3000};
constexpr Lsn kFlushed{0x9000};

Position at(Lsn lsn, std::uint32_t index = 0, std::uint32_t timeline = 1) {
  return {timeline, lsn, index, std::nullopt};
}

// A source that carried ten messages; five of them are durable.
Facts normal() {
  Facts facts;
  facts.system_id = "7";
  facts.flushed = kFlushed;
  facts.checkpoint.system_id = "7";
  facts.checkpoint.incarnation = "now";
  facts.checkpoint.mark = {5, 5, at(kDurable), {50, 500}, 1};
  facts.checkpoint.confirm_to = kDurable;
  facts.epochs = {1};
  facts.slot_name = "slot";
  facts.slot = {true, "pgoutput", false, false, false, kConfirmed};
  facts.stream_name = "SHOP";
  facts.stream = StreamFacts{"now", 1, 10, 10, false};
  facts.tail = PositionHeader{10, at(kTail), {100, 1000}, 1, true};
  return facts;
}

// A source that is initialised and has carried nothing durable yet.
Facts young() {
  Facts facts = normal();
  facts.checkpoint.mark = {};
  facts.checkpoint.incarnation = "";
  facts.checkpoint.confirm_to = kConfirmed;
  facts.epochs = {};
  facts.stream.reset();
  facts.tail = TailGone{};
  return facts;
}

void expect_halt(const Facts& facts, ErrorKind kind) {
  const auto start = decide(facts);
  ASSERT_FALSE(start.has_value());
  EXPECT_EQ(info(start.error().kind).name, info(kind).name) << start.error().context;
  EXPECT_FALSE(start.error().remedy.empty());
}

TEST(Decision, NormallyGoesOnAfterTheTailAndVerifiesItsTransaction) {
  const auto start = decide(normal());
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->mark.ordinal, 10U);
  EXPECT_EQ(start->mark.seq, 10U);
  EXPECT_EQ(start->start_lsn, kTail);
  EXPECT_TRUE(start->verify_first);
  EXPECT_FALSE(start->create_stream || start->bind_stream);
  EXPECT_EQ(start->skip, 0U);
}

TEST(Decision, StartsWhereTheSlotIsConfirmedWhenThatLiesBeyondTheTail) {
  auto facts = normal();
  facts.checkpoint.confirm_to = facts.slot.confirmed = Lsn{0x3100};
  const auto start = decide(facts);
  ASSERT_TRUE(start.has_value());
  EXPECT_TRUE(start->start_lsn.is_none());
  EXPECT_FALSE(start->verify_first);
}

TEST(Decision, ATailThatEndsWithTheDurableMessageIsNormal) {
  auto facts = normal();
  facts.stream->last_seq = 5;
  facts.tail = PositionHeader{5, at(kDurable), {50, 500}, 1, true};
  const auto start = decide(facts);
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->mark.ordinal, 5U);
}

TEST(Decision, AnUnconfirmedTailThatTheBrokerLostIsPublishedAgain) {
  auto facts = normal();
  facts.stream->last_seq = 7;
  facts.tail = PositionHeader{7, at(Lsn{0x2500}), {70, 700}, 1, true};
  const auto start = decide(facts);
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->mark.ordinal, 7U);
  EXPECT_EQ(start->start_lsn, Lsn{0x2500});
}

TEST(Decision, AForeignMessageSeenBeforeHaltsForAsLongAsTheStreamReachesIt) {
  auto facts = normal();
  facts.checkpoint.foreign_seq = 10;
  expect_halt(facts, ErrorKind::kForeignMessage);
  facts.tail = TailGone{};
  expect_halt(facts, ErrorKind::kForeignMessage);
  facts.stream->last_seq = 11;
  expect_halt(facts, ErrorKind::kForeignMessage);
  facts.stream->last_seq = 9;
  facts.tail = PositionHeader{9, at(Lsn{0x2900}), {90, 900}, 1, true};
  EXPECT_TRUE(decide(facts).has_value());
}

TEST(Decision, AnotherClusterHalts) {
  auto facts = normal();
  facts.system_id = "8";
  expect_halt(facts, ErrorKind::kWrongSystem);
}

TEST(Decision, AServerWhoseWalEndsBeforeTheTailHalts) {
  auto facts = normal();
  facts.flushed = Lsn{kTail.value - 1};
  expect_halt(facts, ErrorKind::kSourceWentBack);
}

TEST(Decision, ATailBeyondAForkHalts) {
  auto facts = normal();
  facts.history = *TimelineHistory::parse(2, "1\t0/2800\tpromoted\n");
  expect_halt(facts, ErrorKind::kTimelineDiverged);
}

TEST(Decision, ATailBeforeAForkGoesOn) {
  auto facts = normal();
  facts.history = *TimelineHistory::parse(2, "1\t0/3800\tpromoted\n");
  EXPECT_TRUE(decide(facts).has_value());
}

TEST(Decision, ATailOfAnUnknownTimelineHalts) {
  auto facts = normal();
  facts.tail = PositionHeader{10, at(kTail, 0, 3), {100, 1000}, 1, true};
  expect_halt(facts, ErrorKind::kTimelineDiverged);
}

TEST(Decision, DivergenceIsSeenBeforeTheSlot) {
  auto facts = normal();
  facts.flushed = Lsn{0x100};
  facts.slot.exists = false;
  expect_halt(facts, ErrorKind::kSourceWentBack);
}

TEST(Decision, AMissingSlotHalts) {
  auto facts = normal();
  facts.slot = {};
  expect_halt(facts, ErrorKind::kSlotMissing);
}

TEST(Decision, AnUnusableSlotHalts) {
  for (const auto change : {0, 1, 2, 3, 4}) {
    auto facts = normal();
    if (change == 0) facts.slot.lost = true;
    if (change == 1) facts.slot.two_phase = true;
    if (change == 2) facts.slot.plugin = "test_decoding";
    if (change == 3) facts.slot.other_database = true;
    if (change == 4) facts.slot.confirmed = Lsn{facts.checkpoint.confirm_to.value + 1};
    SCOPED_TRACE(change);
    expect_halt(facts, ErrorKind::kSlotUnusable);
  }
}

TEST(Decision, ASlotConfirmedExactlyAsFarAsTheRowAllowsIsGood) {
  auto facts = normal();
  facts.slot.confirmed = facts.checkpoint.confirm_to;
  EXPECT_TRUE(decide(facts).has_value());
}

TEST(Decision, ANewSourceMakesItsStream) {
  const auto start = decide(young());
  ASSERT_TRUE(start.has_value());
  EXPECT_TRUE(start->create_stream);
  EXPECT_TRUE(start->bind_stream);
  EXPECT_TRUE(start->mark.is_none());
  EXPECT_TRUE(start->start_lsn.is_none());
}

TEST(Decision, ANewSourceTakesAnEmptyStream) {
  auto facts = young();
  facts.stream = StreamFacts{"made", 4, 3, 0, false};
  const auto start = decide(facts);
  ASSERT_TRUE(start.has_value());
  EXPECT_FALSE(start->create_stream);
  EXPECT_TRUE(start->bind_stream);
  EXPECT_EQ(start->mark.seq, 3U);
}

TEST(Decision, ANewSourceRefusesAStreamWithMessages) {
  auto facts = young();
  facts.stream = StreamFacts{"made", 1, 3, 3, false};
  facts.tail = PositionHeader{3, at(kTail), {1, 1}, 1, true};
  expect_halt(facts, ErrorKind::kForeignMessage);
}

TEST(Decision, AYoungStreamThatIsGoneIsMadeAgain) {
  auto facts = young();
  facts.checkpoint.incarnation = "before";
  facts.epochs = {1};
  const auto start = decide(facts);
  ASSERT_TRUE(start.has_value());
  EXPECT_TRUE(start->create_stream);
}

// The broker lost the description of a young stream, and gave its files to the next one.
Facts left_behind() {
  auto facts = young();
  facts.checkpoint.incarnation = "before";
  facts.epochs = {1};
  facts.stream = StreamFacts{"made", 1, 3, 3, false};
  facts.tail = PositionHeader{3, at(kTail), {1, 1}, 1, true};
  return facts;
}

TEST(Decision, AYoungStreamsMessagesThatAreLeftOverAreGoneOnFrom) {
  const auto start = decide(left_behind());
  ASSERT_TRUE(start.has_value()) << start.error().context;
  EXPECT_TRUE(start->bind_stream);
  EXPECT_FALSE(start->create_stream);
  EXPECT_TRUE(start->verify_first);
  EXPECT_EQ(start->mark.ordinal, 3U);
  EXPECT_EQ(start->mark.seq, 3U);
}

TEST(Decision, LeftOverMessagesMustBeWholeAndOurs) {
  auto facts = left_behind();
  facts.stream->messages = 2;
  expect_halt(facts, ErrorKind::kForeignMessage);
  facts = left_behind();
  facts.stream->first_seq = 2;
  expect_halt(facts, ErrorKind::kForeignMessage);
  facts = left_behind();
  facts.tail = TailForeign{"no position"};
  expect_halt(facts, ErrorKind::kForeignMessage);
  facts = left_behind();
  std::get<PositionHeader>(facts.tail).ordinal = 2;
  expect_halt(facts, ErrorKind::kForeignMessage);
  facts = left_behind();
  facts.flushed = kConfirmed;
  expect_halt(facts, ErrorKind::kSourceWentBack);
}

TEST(Decision, DurableEventsWithoutTheirStreamHalt) {
  auto facts = normal();
  facts.stream.reset();
  expect_halt(facts, ErrorKind::kDurableEventsLost);
  facts = normal();
  facts.stream->incarnation = "another";
  expect_halt(facts, ErrorKind::kDurableEventsLost);
}

TEST(Decision, ATailBeforeTheDurableMessageHalts) {
  auto facts = normal();
  facts.stream->last_seq = 4;
  facts.tail = PositionHeader{4, at(Lsn{0x1800}), {40, 400}, 1, true};
  expect_halt(facts, ErrorKind::kDurableEventsLost);
}

TEST(Decision, ALastSequenceBeforeTheDurableOneHaltsWithoutATail) {
  auto facts = normal();
  facts.stream->last_seq = 4;
  facts.tail = TailGone{};
  expect_halt(facts, ErrorKind::kDurableEventsLost);
}

TEST(Decision, WithoutATailTheRowIsTheMarkAndTheRestIsCounted) {
  auto facts = normal();
  facts.tail = TailGone{};
  const auto start = decide(facts);
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->mark.ordinal, 5U);
  EXPECT_EQ(start->skip, 5U);
  EXPECT_TRUE(start->tail_gone);
  EXPECT_EQ(start->start_lsn, kDurable);
}

TEST(Decision, WithoutATailThatWasTheDurableMessageNothingIsCountedAndNothingProvesIt) {
  auto facts = normal();
  facts.stream->last_seq = 5;
  facts.tail = TailGone{};
  const auto start = decide(facts);
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->mark.ordinal, 5U);
  EXPECT_EQ(start->skip, 0U);
  EXPECT_TRUE(start->tail_gone);
  EXPECT_FALSE(decide(normal())->tail_gone);
}

TEST(Decision, WithoutATailAndWithLostDataItHalts) {
  auto facts = normal();
  facts.tail = TailGone{};
  facts.stream->reports_lost_data = true;
  expect_halt(facts, ErrorKind::kDurableEventsLost);
}

TEST(Decision, WithoutATailAndBeyondAForkItHalts) {
  auto facts = normal();
  facts.tail = TailGone{};
  facts.history = *TimelineHistory::parse(2, "1\t0/8000\tpromoted\n");
  expect_halt(facts, ErrorKind::kTimelineDiverged);
}

TEST(Decision, AForeignTailHalts) {
  auto facts = normal();
  facts.tail = TailForeign{"not ours"};
  expect_halt(facts, ErrorKind::kForeignMessage);
}

TEST(Decision, AMessageInBetweenThatWasNotPublishedHereHalts) {
  auto facts = normal();
  facts.stream->last_seq = 11;  // eleven sequences for ten ordinals
  expect_halt(facts, ErrorKind::kForeignMessage);
}

TEST(Decision, AnotherMessageUnderTheDurableOrdinalHalts) {
  auto facts = normal();
  facts.stream->last_seq = 5;
  facts.tail = PositionHeader{5, at(kDurable), {51, 500}, 1, true};
  expect_halt(facts, ErrorKind::kForeignMessage);
}

TEST(Decision, AnEpochThatWasNeverOpenedHalts) {
  auto facts = normal();
  facts.tail = PositionHeader{10, at(kTail), {100, 1000}, 2, true};
  expect_halt(facts, ErrorKind::kForeignMessage);
}

// The row of a server that was promoted may lack what the one before opened.
TEST(Decision, AnEpochBelowTheNewestThatTheRowDoesNotKnowHalts) {
  auto facts = normal();
  facts.epochs = {1, 103};
  facts.tail = PositionHeader{10, at(kTail), {100, 1000}, 2, true};
  expect_halt(facts, ErrorKind::kForeignMessage);
  facts.tail = PositionHeader{10, at(kTail), {100, 1000}, 103, true};
  EXPECT_TRUE(decide(facts).has_value());
}

// A source that was repaired: ordinals up to 20 are used, the stream still ends with the tenth, and
// nothing was published behind it yet.
Facts repaired() {
  Facts facts = normal();
  facts.checkpoint.mark = {10, 20, {1, Lsn{}, 0, std::nullopt}, {}, 2};
  facts.checkpoint.confirm_to = facts.slot.confirmed = Lsn{0x8000};
  facts.epochs = {2};
  return facts;
}

TEST(Decision, BehindAHoleItGoesOnFromTheSlotWhateverTheTailIs) {
  for (const Tail& tail : {Tail(repaired().tail), Tail(TailGone{}),
                           Tail(PositionHeader{10, at(Lsn{0xF000}), {100, 1000}, 1, true})}) {
    auto facts = repaired();
    facts.tail = tail;
    const auto start = decide(facts);
    ASSERT_TRUE(start.has_value()) << start.error().context;
    EXPECT_EQ(start->mark, facts.checkpoint.mark);
    EXPECT_TRUE(start->start_lsn.is_none());
    EXPECT_FALSE(start->verify_first);
    EXPECT_EQ(start->skip, 0U);
  }
}

// A repair deleted it, and the broker has lost the deletion: it keeps nothing foreign.
TEST(Decision, BehindAHoleAForeignTailHaltsAllTheSame) {
  auto facts = repaired();
  facts.tail = TailForeign{"a message on shop.intruder"};
  expect_halt(facts, ErrorKind::kForeignMessage);
}

TEST(Decision, BehindAHoleThatWasPublishedItGoesOnAfterTheTail) {
  auto facts = repaired();
  facts.stream->last_seq = 12;
  facts.tail = PositionHeader{22, at(Lsn{0x8500}), {200, 2000}, 2, true};
  const auto start = decide(facts);
  ASSERT_TRUE(start.has_value()) << start.error().context;
  EXPECT_EQ(start->mark.ordinal, 22U);
  EXPECT_TRUE(start->verify_first);
  facts.tail = PositionHeader{22, at(Lsn{0x8500}), {200, 2000}, 1, true};
  expect_halt(facts, ErrorKind::kForeignMessage);  // of a relay from before the repair
  facts.tail = TailGone{};
  const auto counted = decide(facts);
  ASSERT_TRUE(counted.has_value()) << counted.error().context;
  EXPECT_EQ(counted->skip, 2U);
}

TEST(Decision, BehindAHoleAStreamWithMessagesIsNotReplaced) {
  auto facts = repaired();
  facts.stream->incarnation = "another";
  expect_halt(facts, ErrorKind::kDurableEventsLost);
  facts = repaired();
  facts.stream->last_seq = 9;
  expect_halt(facts, ErrorKind::kDurableEventsLost);
}

TEST(Decision, BehindAHoleAMissingStreamIsMadeAndBoundWithItsOrdinal) {
  auto facts = repaired();
  facts.checkpoint.mark.seq = 0;
  facts.checkpoint.incarnation = "";
  facts.stream.reset();
  auto start = decide(facts);
  ASSERT_TRUE(start.has_value()) << start.error().context;
  EXPECT_TRUE(start->create_stream && start->bind_stream);
  EXPECT_EQ(start->mark.ordinal, 20U);
  // And once more, when that young one is lost.
  facts.checkpoint.incarnation = "lost";
  start = decide(facts);
  ASSERT_TRUE(start.has_value()) << start.error().context;
  EXPECT_TRUE(start->create_stream);
}

}  // namespace
}  // namespace postrider
