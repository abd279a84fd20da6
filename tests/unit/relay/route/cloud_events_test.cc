#include "relay/route/cloud_events.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "relay/route/encoder.h"

namespace postrider {
namespace {

class CloudEventsTest : public ::testing::Test {
 protected:
  CloudEventsTest() {
    event_.id = "id-1";
    event_.subject = "order.placed";
    event_.payload = "{}";
    event_.content_type = "application/json";
    epoch_.settings.source = "shop";
    epoch_.settings.format = EventFormat::kCloudEventsStructured;
    assembled_.position = {1, Lsn{0x1A2B}, 4, std::nullopt};
    assembled_.fingerprint = {77, 1'700'000'000'000'001};
    assembled_.epoch = &epoch_;
    assembled_.event = &event_;
  }
  nlohmann::json structured() {
    EXPECT_TRUE(encode(assembled_, 12, message_));
    return nlohmann::json::parse(message_.payload);
  }
  std::string header(const std::string& name) const {
    for (const auto& [key, value] : message_.headers)
      if (key == name) return value;
    return "absent";
  }

  OutboxEvent event_;
  Epoch epoch_;
  AssembledEvent assembled_;
  Message message_;
};

TEST_F(CloudEventsTest, AStructuredEventIsTheseBytes) {
  event_.key = "1\"7";
  event_.headers = R"({"traceparent": "00-ab", "x": "y"})";
  event_.payload = R"({"n": 1.500, "n": 2})";
  ASSERT_TRUE(encode(assembled_, 12, message_));
  EXPECT_EQ(message_.payload,
            R"({"specversion":"1.0","id":"id-1","source":"/postrider/shop","type":"order.placed",)"
            R"("subject":"1\"7","partitionkey":"1\"7","time":"2023-11-14T22:13:20.000001Z",)"
            R"("traceparent":"00-ab","datacontenttype":"application/json",)"
            R"("data":{"n": 1.500, "n": 2}})");
  EXPECT_EQ(header("Content-Type"), "application/cloudevents+json");
  EXPECT_EQ(header("traceparent"), "00-ab");
  EXPECT_EQ(header("x"), "y");
  EXPECT_EQ(header("Nats-Msg-Id"), "00000001/0000000000001A2B/00000004");
  EXPECT_GT(message_.size(), message_.body.size());
}

TEST_F(CloudEventsTest, WhatIsNotJsonIsBase64) {
  for (const std::string& payload :
       {std::string("{"), std::string("{}\0x", 4), std::string("\xEF\xBB\xBF{}"),
        std::string("\"\xff\""), std::string("{}{}"), std::string()}) {
    event_.payload = payload;
    EXPECT_TRUE(structured().contains("data_base64")) << payload;
  }
  event_.content_type = "text/plain";
  for (const auto& [bytes, text] : std::vector<std::pair<std::string, std::string>>{
           {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xff\xfe", "//4="}}) {
    event_.payload = bytes;
    EXPECT_EQ(structured()["data_base64"], text);
  }
  event_.payload = "1";
  for (const char* type : {"a/b+json", "Application/JSON ;charset=x", ""}) {
    event_.content_type = type;
    EXPECT_EQ(structured()["data"], 1) << type;
  }
  event_.content_type.reset();
  EXPECT_EQ(structured()["data"], 1);
  event_.content_type = "application/jsonx";
  EXPECT_EQ(structured()["data_base64"], "MQ==");
}

TEST_F(CloudEventsTest, ThePayloadComesOutOfAStructuredEventAsItWentIn) {
  event_.key = R"(x,"data":{"n":0},)";
  event_.type = R"(,"data_base64":")";
  for (const std::string& payload :
       {std::string("{}"), std::string(R"({"a":1,"data":{"n": 1.50},"data_base64":"eA=="})"),
        std::string("{"), std::string("{}\0x", 4), std::string(), std::string("a"),
        std::string("ab"), std::string(R"(,"data":x)"), std::string(R"(,"data_base64":"eA==")")}) {
    event_.payload = payload;
    ASSERT_TRUE(encode(assembled_, 12, message_));
    EXPECT_EQ(structured_payload(message_.payload, "id-1", "shop"), payload);
    const std::string whole(message_.payload);
    EXPECT_FALSE(structured_payload(whole, "id-2", "shop")) << "a service's own";
    EXPECT_FALSE(structured_payload(whole, "id-1", "bank"));
  }
  for (
      const char* text :
      {"", "{}", R"({"specversion":"1.0","id":"id-1","source":"/postrider/shop",})",
       R"({"specversion":"1.0","id":"id-1","source":"/postrider/shop","data_base64":"})",
       R"({"specversion":"1.0","id":"id-1","source":"/postrider/shop","data_base64":"e"})",
       R"({"specversion":"1.0","id":"id-1","source":"/postrider/shop","data_base64":"e==="})",
       R"({"specversion":"1.0","id":"id-1","source":"/postrider/shop","data_base64":"eA==eA=="})",
       R"({"specversion":"1.0","id":"id-1","source":"/postrider/shop","data_base64":"e\u0041=="})"})
    EXPECT_FALSE(structured_payload(text, "id-1", "shop")) << text;
}

TEST_F(CloudEventsTest, BinaryPutsAttributesInEncodedHeaders) {
  epoch_.settings.format = EventFormat::kCloudEventsBinary;
  event_.id = "id-2";
  event_.type = "a \"b\" 5%\xc3\xa4~";
  event_.headers = R"({"Traceparent": "00-ab", "tracestate": ""})";
  ASSERT_TRUE(encode(assembled_, 12, message_));
  EXPECT_EQ(message_.payload.data(), event_.payload.data());
  EXPECT_EQ(header("ce-id"), "id-2");
  EXPECT_EQ(header("ce-type"), "a%20%22b%22%205%25%C3%A4~");
  EXPECT_EQ(header("ce-source"), "/postrider/shop");
  EXPECT_EQ(header("ce-specversion"), "1.0");
  EXPECT_EQ(header("ce-subject"), "absent");
  EXPECT_EQ(header("ce-traceparent"), "00-ab");
  EXPECT_EQ(header("ce-tracestate"), "absent") << "an attribute is never empty";
  EXPECT_EQ(header("Content-Type"), "application/json");
}

TEST_F(CloudEventsTest, RefusesControlCharactersInEachFormat) {
  for (const auto format : {EventFormat::kCloudEventsStructured, EventFormat::kCloudEventsBinary}) {
    epoch_.settings.format = format;
    event_.content_type = "a\r\nb";
    EXPECT_FALSE(encode(assembled_, 12, message_));
    event_.content_type.reset();
    event_.key = "a\nb";
    EXPECT_FALSE(encode(assembled_, 12, message_));
    event_.key.reset();
  }
}

TEST_F(CloudEventsTest, TimesOfAnyYear) {
  EXPECT_EQ(rfc3339(0), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(rfc3339(-1), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(rfc3339(951'782'400'000'000), "2000-02-29T00:00:00.000000Z");
  EXPECT_EQ(rfc3339(253'402'300'799'999'999), "9999-12-31T23:59:59.999999Z");
  EXPECT_FALSE(rfc3339(253'402'300'800'000'000));
  EXPECT_EQ(rfc3339(-62'167'219'200'000'000), "0000-01-01T00:00:00.000000Z");
  EXPECT_FALSE(rfc3339(-62'167'219'200'000'001));
  EXPECT_FALSE(rfc3339(INT64_MIN) || rfc3339(INT64_MAX));
  assembled_.fingerprint.commit_time_us = INT64_MAX;
  EXPECT_FALSE(structured().contains("time"));
}

}  // namespace
}  // namespace postrider
