#include "relay/route/encoder.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

class EncoderTest : public ::testing::Test {
 protected:
  EncoderTest() {
    event_.id = "id-1";
    event_.subject = "order.17.placed";
    event_.payload = "{}";
    event_.content_type = "application/json";
    epoch_.number = 3;
    epoch_.settings = {kEncoderVersion, "shop", true, false};
    assembled_.position = {1, Lsn{0x1A2B}, 4, std::nullopt};
    assembled_.fingerprint = {77, 1'700'000'000'000'000};
    assembled_.epoch = &epoch_;
    assembled_.last = true;
    assembled_.event = &event_;
  }
  std::optional<std::string> header(const std::string& name) const {
    for (const auto& [key, value] : message_.headers)
      if (key == name) return value;
    return std::nullopt;
  }
  void expect_refusal() {
    const auto result = encode(assembled_, 12, message_);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().kind, ErrorKind::kMalformedEvent);
    EXPECT_NE(result.error().context.find("id-1"), std::string::npos) << result.error().context;
  }

  OutboxEvent event_;
  Epoch epoch_;
  AssembledEvent assembled_;
  Message message_;
};

TEST_F(EncoderTest, MakesTheDocumentedHeaders) {
  event_.key = "17";
  event_.headers = R"({"traceparent": "00-ab", "n": 5, "b": true})";
  ASSERT_TRUE(encode(assembled_, 12, message_));
  EXPECT_EQ(message_.subject, "shop.order.17.placed");
  EXPECT_EQ(message_.payload, "{}");
  EXPECT_EQ(header("Postrider-Position"),
            "v1 12 00000001/0000000000001A2B/00000004 77 1700000000000000 3 last");
  EXPECT_EQ(header("Nats-Msg-Id"), "00000001/0000000000001A2B/00000004");
  EXPECT_EQ(header("Postrider-Id"), "id-1");
  EXPECT_EQ(header("Postrider-Key"), "17");
  EXPECT_FALSE(header("Postrider-Type"));
  EXPECT_EQ(header("Content-Type"), "application/json");
  EXPECT_EQ(header("traceparent"), "00-ab");
  EXPECT_EQ(header("n"), "5");
  EXPECT_EQ(header("b"), "true");
}

TEST_F(EncoderTest, TheSameEventIsTheSameBytes) {
  event_.headers = R"({"b": "2", "a": "1"})";
  ASSERT_TRUE(encode(assembled_, 12, message_));
  const auto first = message_.headers;
  event_.headers = R"({"a": "1", "b": "2"})";
  ASSERT_TRUE(encode(assembled_, 12, message_));
  EXPECT_EQ(message_.headers, first);
}

TEST_F(EncoderTest, NothingOfTheMessageBeforeRemains) {
  event_.headers = R"({"a": "1", "b": "2"})";
  event_.key = "k";
  ASSERT_TRUE(encode(assembled_, 12, message_));
  event_.headers.reset();
  event_.key.reset();
  epoch_.settings.message_id = false;
  ASSERT_TRUE(encode(assembled_, 13, message_));
  EXPECT_FALSE(header("a") || header("Postrider-Key") || header("Nats-Msg-Id"));
  EXPECT_EQ(message_.headers.size(), 3U);
}

TEST_F(EncoderTest, RefusesWhatCouldInjectProtocol) {
  for (const char* subject : {"a b", "a\r\nPUB x 0", "", ".a", "a.", "a..b", "*", "a.>", "$JS.API",
                              "_INBOX.x", "\xc3\xa4", "a\tb"}) {
    event_.subject = subject;
    expect_refusal();
  }
}

TEST_F(EncoderTest, RefusesHeadersThatAreReservedOrMalformed) {
  for (const char* headers :
       {R"({"Nats-Expected-Last-Sequence": "0"})", R"({"nats-rollup": "all"})",
        R"({"Postrider-Position": "v1"})", R"({"ce-id": "1"})", R"({"content-type": "x"})",
        R"({"a b": "1"})", R"({"": "1"})", "{\"a\\r\\nb\": \"1\"}", R"({"a": "x\r\ny"})",
        "{\"a\": \"\\u0000\"}", R"({"a": null})", R"({"a": {}})", R"([])", "nonsense"}) {
    event_.headers = headers;
    SCOPED_TRACE(headers);
    expect_refusal();
  }
}

TEST_F(EncoderTest, RefusesControlCharactersInTheIdAndDoesNotRepeatThem) {
  event_.id = "a\r\nNats-Rollup: all";
  const auto result = encode(assembled_, 12, message_);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::kMalformedEvent);
  EXPECT_EQ(result.error().context.find("Rollup"), std::string::npos) << result.error().context;
}

TEST_F(EncoderTest, RefusesControlCharactersInKeyAndType) {
  event_.key = "a\nb";
  expect_refusal();
  event_.key.reset();
  event_.type = std::string("a\0b", 3);
  expect_refusal();
}

TEST_F(EncoderTest, TheFirstMessageBehindAHoleDeclaresIt) {
  epoch_.hole = OrdinalRange{5, 11};
  ASSERT_TRUE(encode(assembled_, 12, message_));
  EXPECT_EQ(header("Postrider-Hole"), "5-11");
  ASSERT_TRUE(encode(assembled_, 13, message_));
  EXPECT_FALSE(header("Postrider-Hole"));
}

}  // namespace
}  // namespace postrider
