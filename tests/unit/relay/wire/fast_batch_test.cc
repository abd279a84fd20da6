// The answers as nats-server 2.15 gives them.
#include "relay/wire/fast_batch.h"

#include <gtest/gtest.h>

namespace postrider::wire {
namespace {

using Outcome = PubAck::Outcome;

class FastBatchTest : public testing::Test {
 protected:
  // Three messages behind sequence 10; the reply subject of the newest.
  std::string three() {
    (void)batch_.next(10);
    (void)batch_.next(11);
    return std::string(batch_.next(12));
  }
  std::optional<PubAck> answer(const std::string& json) { return batch_.accept(reply_, json); }

  FastBatch batch_{"_INBOX.abc", 2};
  std::string reply_ = "_INBOX.abc.abc-1.2.fail.3.1.$FI";
};

TEST_F(FastBatchTest, ItsReplySubjectsSayWhichMessageOfWhichBatch) {
  EXPECT_EQ(batch_.next(10), "_INBOX.abc.abc-1.2.fail.1.0.$FI");
  EXPECT_EQ(batch_.next(11), "_INBOX.abc.abc-1.2.fail.2.1.$FI");
  const std::string newest(batch_.next(12));
  EXPECT_EQ(newest, reply_);
  EXPECT_EQ(newest[newest.size() - FastBatch::kOperationFromEnd], '1');
  EXPECT_TRUE(batch_.open());
  EXPECT_EQ(batch_.end_of_batch(), "_INBOX.abc.abc-1.2.fail.4.3.$FI");
  EXPECT_FALSE(batch_.open());
  EXPECT_TRUE(batch_.ending());
}

TEST_F(FastBatchTest, AnAnswerOnTheWayCoversAllBeforeIt) {
  (void)three();
  EXPECT_TRUE(batch_.answer_due());
  EXPECT_FALSE(answer(R"({"type":"ack","seq":0,"msgs":2})")) << "that says how often it answers";
  const auto first = answer(R"({"type":"ack","seq":2,"msgs":2})");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->outcome, Outcome::kStoredThrough);
  EXPECT_EQ(first->seq, 12U);
  EXPECT_FALSE(batch_.answer_due()) << "one message is left, and it answers every two";
  EXPECT_FALSE(answer(R"({"type":"ack","seq":2,"msgs":2})")) << "said already";
  EXPECT_TRUE(batch_.open());
}

TEST_F(FastBatchTest, TheAnswerToItsEndCoversAllAndMakesRoomForTheNext) {
  (void)three();
  batch_.end();
  const auto end = answer(R"({"stream":"S","seq":13,"batch":"abc-1","count":3})");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->outcome, Outcome::kStoredThrough);
  EXPECT_EQ(end->seq, 13U);
  EXPECT_FALSE(batch_.ending());
  EXPECT_EQ(batch_.next(13), "_INBOX.abc.abc-2.2.fail.1.0.$FI");
  EXPECT_FALSE(answer(R"({"type":"ack","seq":2,"msgs":2})")) << "of the batch before";
}

// The empty message is sent all the same, so that the broker forgets the batch.
TEST_F(FastBatchTest, AnEndBehindWhatIsAllAnsweredIsNotWaitedFor) {
  (void)batch_.next(10);
  (void)batch_.next(11);
  ASSERT_TRUE(answer(R"({"type":"ack","seq":2,"msgs":2})"));
  EXPECT_TRUE(batch_.open());
  EXPECT_EQ(batch_.end_of_batch(), "_INBOX.abc.abc-1.2.fail.3.3.$FI");
  EXPECT_FALSE(batch_.open());
  EXPECT_FALSE(batch_.ending());
  EXPECT_FALSE(answer(R"({"stream":"S","seq":12,"batch":"abc-1","count":2})")) << "nothing new";
  EXPECT_EQ(batch_.next(12), "_INBOX.abc.abc-2.2.fail.1.0.$FI");
}

TEST_F(FastBatchTest, ItsEndIsAnsweredByTheAnswerToItsLastMessage) {
  (void)batch_.next(10);
  (void)batch_.next(11);
  (void)batch_.end_of_batch();
  EXPECT_TRUE(batch_.ending());
  ASSERT_TRUE(answer(R"({"type":"ack","seq":2,"msgs":2})"));
  EXPECT_FALSE(batch_.ending());
  EXPECT_FALSE(answer(R"({"stream":"S","seq":12,"batch":"abc-1","count":2})")) << "nothing new";
}

// The broker took one of its messages for a duplicate, and counts it.
TEST_F(FastBatchTest, AnEndAtAnotherSequenceIsInDoubt) {
  (void)three();
  batch_.end();
  const auto end = answer(R"({"stream":"S","seq":12,"batch":"abc-1","count":3})");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->outcome, Outcome::kBatchCut);
  EXPECT_NE(end->description.find("12"), std::string::npos) << end->description;
}

TEST_F(FastBatchTest, AnEndThatNobodyAskedForIsInDoubt) {
  (void)three();
  const auto end = answer(R"({"stream":"S","seq":13,"batch":"abc-1","count":3})");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->outcome, Outcome::kBatchCut);
}

TEST_F(FastBatchTest, ARefusedMessageIsTold) {
  (void)three();
  const auto wrong = answer(
      R"({"type":"err","seq":2,"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 14"}})");
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->outcome, Outcome::kWrongSequence);
  const auto unknown = answer(
      R"({"error":{"code":400,"err_code":10208,"description":"batch publish ID unknown"},"stream":"S","seq":0})");
  ASSERT_TRUE(unknown);
  EXPECT_EQ(unknown->err_code, kErrUnknownBatch);
}

TEST_F(FastBatchTest, AMissingMessageIsTold) {
  (void)three();
  const auto gap = answer(R"({"type":"gap","last_seq":2,"seq":3})");
  ASSERT_TRUE(gap);
  EXPECT_EQ(gap->outcome, Outcome::kBatchCut);
}

TEST_F(FastBatchTest, WhatCannotBeReadIsNoAnswer) {
  (void)three();
  for (const char* text : {"", "{}", "[]", R"({"type":"ack","seq":4})", R"({"type":"other"})",
                           R"({"type":1,"seq":1})"}) {
    const auto ack = answer(text);
    ASSERT_TRUE(ack) << text;
    EXPECT_EQ(ack->outcome, Outcome::kUnreadable) << text;
  }
}

TEST_F(FastBatchTest, OneMessageIsABatch) {
  EXPECT_EQ(batch_.next(0), "_INBOX.abc.abc-1.2.fail.1.0.$FI");
  batch_.end();
  const auto end = batch_.accept("_INBOX.abc.abc-1.2.fail.1.2.$FI",
                                 R"({"stream":"S","seq":1,"batch":"abc-1","count":1})");
  ASSERT_TRUE(end);
  EXPECT_EQ(end->seq, 1U);
}

}  // namespace
}  // namespace postrider::wire
