#include "relay/progress/window.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

using Outcome = wire::PubAck::Outcome;

wire::PubAck stored(std::uint64_t seq) {
  wire::PubAck ack;
  ack.outcome = Outcome::kStored;
  ack.seq = seq;
  return ack;
}

Sent message(std::uint64_t ordinal, std::size_t bytes = 10) {
  Sent sent;
  sent.mark.ordinal = ordinal;
  sent.bytes = bytes;
  return sent;
}

TEST(Window, ExpectsTheSequenceBeforeEachMessage) {
  Window window(41, 10, 1000);
  EXPECT_EQ(window.expected_last(), 41U);
  window.push(message(1));
  EXPECT_EQ(window.expected_last(), 42U);
  window.push(message(2));
  EXPECT_EQ(window.expected_last(), 43U);
}

TEST(Window, GivesOutOnlyTheContiguousPrefix) {
  Window window(0, 10, 1000);
  for (std::uint64_t i = 1; i <= 3; ++i) window.push(message(i));
  ASSERT_TRUE(window.acknowledge(stored(2)));
  EXPECT_FALSE(window.take_published());
  ASSERT_TRUE(window.acknowledge(stored(1)));
  EXPECT_EQ(window.take_published()->mark.seq, 1U);
  EXPECT_EQ(window.take_published()->mark.ordinal, 2U);
  EXPECT_FALSE(window.take_published());
  EXPECT_EQ(window.messages(), 1U);
}

TEST(Window, TheAnswerToABatchCoversAllBeforeIt) {
  Window window(5, 10, 1000);
  for (std::uint64_t i = 1; i <= 3; ++i) window.push(message(i));
  auto through = stored(7);
  through.outcome = Outcome::kStoredThrough;
  ASSERT_TRUE(window.acknowledge(through));
  EXPECT_EQ(window.take_published()->mark.seq, 6U);
  EXPECT_EQ(window.take_published()->mark.seq, 7U);
  EXPECT_FALSE(window.take_published());
  through.seq = 9;
  EXPECT_FALSE(window.acknowledge(through));
}

TEST(Window, HoldsItsLimitsButAlwaysTakesOne) {
  Window window(0, 2, 25);
  EXPECT_TRUE(window.has_room(1000)) << "an empty window takes any message";
  window.push(message(1, 20));
  EXPECT_TRUE(window.has_room(5));
  EXPECT_FALSE(window.has_room(6));
  window.push(message(2, 5));
  EXPECT_FALSE(window.has_room(0));
  ASSERT_TRUE(window.acknowledge(stored(1)));
  (void)window.take_published();
  EXPECT_EQ(window.bytes(), 5U);
  EXPECT_TRUE(window.has_room(20));
}

TEST(Window, RefusesAnAcknowledgementOfASequenceThatIsNotInFlight) {
  Window window(10, 10, 1000);
  window.push(message(1));
  EXPECT_EQ(window.acknowledge(stored(10)).error().kind, ErrorKind::kPublishInDoubt);
  EXPECT_EQ(window.acknowledge(stored(12)).error().kind, ErrorKind::kPublishInDoubt);
  ASSERT_TRUE(window.acknowledge(stored(11)));
  (void)window.take_published();
  EXPECT_EQ(window.acknowledge(stored(11)).error().kind, ErrorKind::kPublishInDoubt);
}

TEST(Window, ADuplicateIsNoAcknowledgement) {
  Window window(0, 10, 1000);
  window.push(message(1));
  auto ack = stored(1);
  ack.outcome = Outcome::kDuplicate;
  EXPECT_EQ(window.acknowledge(ack).error().kind, ErrorKind::kPublishInDoubt);
  EXPECT_FALSE(window.take_published());
}

TEST(Window, ClassifiesRefusals) {
  const auto kind = [](Outcome outcome, int err_code = 0) {
    wire::PubAck ack;
    ack.outcome = outcome;
    ack.err_code = err_code;
    return classify_refusal(ack).kind;
  };
  EXPECT_EQ(kind(Outcome::kWrongSequence), ErrorKind::kPublishInDoubt);
  EXPECT_EQ(kind(Outcome::kUnreadable), ErrorKind::kPublishInDoubt);
  EXPECT_EQ(kind(Outcome::kBatchCut), ErrorKind::kPublishInDoubt);
  EXPECT_EQ(kind(Outcome::kRefused, wire::kErrUnknownBatch), ErrorKind::kPublishInDoubt);
  EXPECT_EQ(kind(Outcome::kNoResponder), ErrorKind::kBrokerRefuses);
  EXPECT_EQ(kind(Outcome::kRefused, 10077), ErrorKind::kBrokerRefuses);  // maximum bytes exceeded
  EXPECT_EQ(kind(Outcome::kRefused, wire::kErrMessageTooLarge), ErrorKind::kTooLarge);
  EXPECT_EQ(kind(Outcome::kRefused, wire::kErrStreamSealed), ErrorKind::kStreamSettings);
}

}  // namespace
}  // namespace postrider
