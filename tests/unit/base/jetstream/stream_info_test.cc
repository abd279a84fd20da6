#include "base/jetstream/stream_info.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace postrider::wire {
namespace {

// As nats-server 2.9 and 2.10 print it.
constexpr const char* kInfo =
    R"({"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"SHOP","subjects":["shop.>"],
    "retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"max_msgs_per_subject":-1,
    "max_msg_size":-1,"discard":"new","storage":"file","num_replicas":1,"duplicate_window":5000000000,
    "deny_delete":false,"deny_purge":true,"allow_rollup_hdrs":false},"created":"2026-11-24T14:57:28.607723189Z",
    "state":{"messages":3,"bytes":300,"first_seq":1,"last_seq":3,"consumer_count":0}})";

bool has_fatal(const StreamInfo& info, const std::string& setting) {
  const auto problems = review_settings(info, "shop.>");
  return std::ranges::any_of(problems, [&](const auto& p) {
    return p.fatal && p.setting == setting && !p.remedy.empty();
  });
}

TEST(StreamInfo, ReadsWhatTheServerPrints) {
  const auto info = parse_stream_info(kInfo);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->name, "SHOP");
  EXPECT_EQ(info->created, "2026-11-24T14:57:28.607723189Z");
  EXPECT_EQ(info->last_seq, 3U);
  EXPECT_EQ(info->duplicate_window, std::chrono::seconds(5));
  EXPECT_TRUE(review_settings(*info, "shop.>").empty());
}

TEST(StreamInfo, RefusesEverySettingThatBreaksAPromise) {
  const auto good = *parse_stream_info(kInfo);
  const auto broken = [&](auto change) {
    StreamInfo info = good;
    change(info);
    return info;
  };
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.storage = "memory"; }), "storage"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.retention = "interest"; }), "retention"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.discard = "old"; }), "discard"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.no_ack = true; }), "no_ack"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.sealed = true; }), "sealed"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.has_mirror_or_sources = true; }), "mirror/sources"));
  EXPECT_TRUE(
      has_fatal(broken([](auto& s) { s.max_msgs_per_subject = 1; }), "max_msgs_per_subject"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.allow_rollup = true; }), "allow_rollup_hdrs"));
  EXPECT_TRUE(
      has_fatal(broken([](auto& s) { s.has_subject_transform = true; }), "subject_transform"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.persist_async = true; }), "persist_mode"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.subjects = {"shop.>", "other"}; }), "subjects"));
  EXPECT_TRUE(has_fatal(broken([](auto& s) { s.subjects = {"shop.*"}; }), "subjects"));
}

TEST(StreamInfo, SeesWhatNewerServersCanBeTold) {
  const std::string config = R"("config":{)";
  for (const auto& [setting, value] : std::vector<std::pair<std::string, std::string>>{
           {"subject_transform", R"({"src":"shop.>","dest":"other.>"})"},
           {"subject_delete_marker_ttl", "60000000000"},
           {"first_seq", "1000"},
           {"persist_mode", R"("async")"}}) {
    std::string text(kInfo);
    ASSERT_NE(text.find(config), std::string::npos);
    text.insert(text.find(config) + config.size(), '"' + setting + "\":" + value + ',');
    const auto info = parse_stream_info(text);
    ASSERT_TRUE(info.has_value());
    EXPECT_TRUE(has_fatal(*info, setting)) << setting;
  }
}

TEST(StreamInfo, OnlyWarnsOfWhatCostsButBreaksNothing) {
  auto info = *parse_stream_info(kInfo);
  info.deny_delete = true;
  const auto problems = review_settings(info, "shop.>");
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_FALSE(problems[0].fatal);
}

TEST(StreamInfo, RefusesWhatIsNotAnAnswer) {
  for (const char* text : {"", "{}", "[]", "{\"config\":{}}", "nonsense"})
    EXPECT_FALSE(parse_stream_info(text).has_value()) << text;
}

TEST(StreamInfo, TakesOnlyIntegersThatFit) {
  const std::string seq = R"("last_seq":3)";
  for (const char* other :
       {"1e20", "-1e20", "18446744073709551616", "-3", "3.5", "true", "\"3\""}) {
    std::string text(kInfo);
    ASSERT_NE(text.find(seq), std::string::npos);
    text.replace(text.find(seq), seq.size(), std::string(R"("last_seq":)") + other);
    EXPECT_FALSE(parse_stream_info(text).has_value()) << other;
  }
}

TEST(StoredMessage, ReadsHeadersAndPayload) {
  // "NATS/1.0\r\nA: b\r\n\r\n" and "hi"
  const auto message = parse_stored_message(
      R"({"message":{"subject":"shop.e","seq":7,"hdrs":"TkFUUy8xLjANCkE6IGINCg0K","data":"aGk=","time":"x"}})");
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->seq, 7U);
  EXPECT_EQ(message->data, "hi");
  EXPECT_EQ(find_header(message->headers, "a"), "b");
  EXPECT_FALSE(find_header(message->headers, "b"));
}

TEST(StoredMessage, RefusesDamage) {
  EXPECT_FALSE(
      parse_stored_message(R"({"message":{"subject":"s","seq":7,"hdrs":"*"}})").has_value());
  EXPECT_FALSE(parse_stored_message(R"({"message":{}})").has_value());
  EXPECT_FALSE(parse_stored_message("x").has_value());
}

TEST(ApiError, IsFound) {
  const auto error =
      find_api_error(R"({"error":{"code":404,"err_code":10059,"description":"stream not found"}})");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->err_code, 10059);
  EXPECT_FALSE(find_api_error(kInfo));
}

TEST(NewestMissing, IsTheLargestOfTheList) {
  EXPECT_EQ(parse_newest_missing(R"({"state":{"deleted":[7,12,9]}})").value(), 12U);
  EXPECT_EQ(parse_newest_missing(R"({"state":{"messages":3}})").value(), 0U);
  EXPECT_EQ(parse_newest_missing(R"({"state":{"deleted":null}})").value(), 0U);
  EXPECT_FALSE(parse_newest_missing(R"({"state":{"deleted":["x"]}})").has_value());
  EXPECT_FALSE(parse_newest_missing(R"({"state":{"deleted":[-1]}})").has_value());
  EXPECT_FALSE(parse_newest_missing("{}").has_value());
}

}  // namespace
}  // namespace postrider::wire
