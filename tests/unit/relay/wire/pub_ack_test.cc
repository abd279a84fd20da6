#include "relay/wire/pub_ack.h"

#include <gtest/gtest.h>

namespace postrider::wire {
namespace {

using Outcome = PubAck::Outcome;

TEST(PubAck, ReadsASequence) {
  const auto ack = parse_pub_ack(R"({"stream":"SHOP","seq":42})");
  EXPECT_EQ(ack.outcome, Outcome::kStored);
  EXPECT_EQ(ack.seq, 42U);
}

TEST(PubAck, ReadsTheEndOfABatch) {
  const auto ack = parse_pub_ack(R"({"stream":"SHOP", "seq":42,"batch":"abc-1","count":3})");
  EXPECT_EQ(ack.outcome, Outcome::kStored);
  EXPECT_EQ(ack.seq, 42U);
  EXPECT_EQ(parse_pub_ack(R"({"stream":"S","seq":42,"batch":"a","count":})").outcome,
            Outcome::kUnreadable);
  EXPECT_EQ(parse_pub_ack(R"({"stream":"S","seq":42,"duplicate": true,"batch":"a","count":1})")
                .outcome,
            Outcome::kDuplicate);
}

TEST(PubAck, ADuplicateIsNotStored) {
  const auto ack = parse_pub_ack(R"({"stream":"SHOP","seq":41,"duplicate":true})");
  EXPECT_EQ(ack.outcome, Outcome::kDuplicate);
  EXPECT_EQ(parse_pub_ack(R"({"stream":"SHOP","seq":41,"duplicate":false})").outcome,
            Outcome::kStored);
}

TEST(PubAck, TellsAWrongSequenceFromOtherErrors) {
  const auto wrong = parse_pub_ack(
      R"({"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 7"},"stream":"SHOP","seq":0})");
  EXPECT_EQ(wrong.outcome, Outcome::kWrongSequence);
  const auto full = parse_pub_ack(
      R"({"error":{"code":400,"err_code":10077,"description":"maximum bytes exceeded"}})");
  EXPECT_EQ(full.outcome, Outcome::kRefused);
  EXPECT_EQ(full.err_code, 10077);
  EXPECT_EQ(full.description, "maximum bytes exceeded");
}

TEST(PubAck, WhatIsNotOneIsUnreadable) {
  for (const char* text : {"", "{}", "[]", "null", "{\"seq\":", "{\"seq\":0}", "{\"seq\":-1}",
                           "{\"seq\":\"5\"}", "{\"stream\":\"SHOP\"}", "+OK", "{\"seq\":1.5}"})
    EXPECT_EQ(parse_pub_ack(text).outcome, Outcome::kUnreadable) << text;
}

}  // namespace
}  // namespace postrider::wire
