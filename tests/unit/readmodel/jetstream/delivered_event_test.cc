#include "readmodel/jetstream/delivered_event.h"

#include <gtest/gtest.h>

#include <string>

namespace postrider {
namespace {

constexpr const char* kReply = "$JS.ACK.STREAM.consumer.1.42.7.1700000000000000000.0";
constexpr const char* kPlace =
    "Postrider-Position: v1 9 00000001/0000000000000005/00000000 3 4 1 last\r\n";

std::string headers(const std::string& lines) {
  return "NATS/1.0\r\n" + lines + "\r\n";
}

Result<ReceivedEvent> read(const std::string& lines, const char* subject = "shop.item",
                           bool keep_foreign = false, const char* reply = kReply) {
  const std::string block = headers(lines);
  return read_event({subject, "1", reply, block, "payload"}, {"SHOP", "shop.", keep_foreign});
}

PullStatus status_of(const std::string& block, const std::string& payload = {}) {
  static std::string headers, body;  // what the views are into
  headers = block;
  body = payload;
  return pull_status({"_INBOX.x.1", "1", "", headers, body});
}

RequestEnd end_of(const std::string& status) {
  return end_of_request(status_of("NATS/1.0 " + status + "\r\n\r\n"));
}

TEST(DeliveredEvent, CarriesWhatItsHeadersSay) {
  const auto event = read(std::string(kPlace) +
                          "Nats-Msg-Id: x\r\nPostrider-Key: a:b \r\nPostrider-Type:\r\n"
                          "Postrider-Id: 7\r\nContent-Type: text/plain\r\nPostrider-Parts: 3\r\n"
                          "Postrider-Parts: 4\r\n"
                          "trace: \t one \r\nb: 2\r\nb: 3\r\nB: 4\r\n");
  ASSERT_TRUE(event) << event.error().context;
  EXPECT_EQ(event->seq, 42U);
  EXPECT_EQ(event->place.ordinal, 9U);
  EXPECT_TRUE(event->place.last);
  EXPECT_EQ(event->subject, "shop.item");
  EXPECT_EQ(event->key, "a:b");
  EXPECT_EQ(event->type, "");
  EXPECT_EQ(event->id, "7");
  EXPECT_EQ(event->content_type, "text/plain");
  EXPECT_EQ(event->parts, 3U);
  EXPECT_EQ(event->payload, "payload");
  using Headers = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(event->headers, (Headers{{"B", "4"}, {"b", "2"}, {"trace", "one"}}));
  const auto bare = read(kPlace);
  ASSERT_TRUE(bare);
  EXPECT_FALSE(bare->key);
  EXPECT_EQ(bare->parts, 1U);
  EXPECT_EQ(read(std::string(kPlace) + "Postrider-Parts: 3x\r\n")->parts, 0U);
}

TEST(DeliveredEvent, OfSomebodyElseIsRefusedOrKeptAsForeign) {
  const std::string place = kPlace;
  for (const auto& [lines, subject] : {std::pair<std::string, const char*>{"A: b\r\n", "shop.item"},
                                       {"Postrider-Position: v9 x\r\n", "shop.item"},
                                       {place, "other.item"}}) {
    const auto refused = read(lines, subject);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::kForeignMessage);
    EXPECT_NE(refused.error().context.find("sequence 42"), std::string::npos);
    const auto kept = read(lines, subject, true);
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->seq, 42U);
    EXPECT_EQ(kept->place.ordinal, 0U);
    EXPECT_EQ(kept->subject, subject);
  }
  const auto nowhere = read(place, "shop.item", true, "_INBOX.x");
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().kind, ErrorKind::kBrokerUnavailable);
}

TEST(PullStatus, SaysWhetherTheNextRequestMayBringMore) {
  for (const auto* line : {"408 Request Timeout", "408 Interest Expired", "404 No Messages",
                           "409 Batch Completed", "409 Leadership Change"})
    EXPECT_EQ(end_of(line), RequestEnd::kDone) << line;
  EXPECT_EQ(end_of("409 Message Size Exceeds MaxBytes"), RequestEnd::kTooSmall);
  for (const auto* line : {"503", "503 No Responders", "409 Consumer Deleted",
                           "409 Server Shutdown", "409 Consumer is push based"})
    EXPECT_EQ(end_of(line), RequestEnd::kGone) << line;
  for (const auto* line : {"409 Exceeded MaxRequestBatch of 100", "409 Exceeded MaxWaiting",
                           "400 Bad Request", "412 Required Api Level", "423 Nats-Wrong-Pin-Id"})
    EXPECT_EQ(end_of(line), RequestEnd::kRefused) << line;
}

TEST(PullStatus, IsTakenFromTheFirstLine) {
  const auto timeout =
      status_of("NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 5\r\n\r\n");
  EXPECT_EQ(timeout.code, "408");
  EXPECT_EQ(timeout.text, "Request Timeout");
  EXPECT_EQ(timeout.pending, 5U);
  const auto nobody = status_of("NATS/1.0 503\r\n\r\n");
  EXPECT_EQ(nobody.code, "503");
  EXPECT_EQ(nobody.text, "");
  EXPECT_FALSE(nobody.pending);
  EXPECT_FALSE(status_of("NATS/1.0 408 x\r\nNats-Pending-Messages: many\r\n\r\n").pending);
}

// As a server may answer that knows the subject for one of its own.
TEST(PullStatus, WithoutOneIsWhatTheServerSaysInstead) {
  EXPECT_EQ(status_of("NATS/1.0\r\n\r\n").code, "");
  const auto error = status_of("", R"({"error":{"code":404}})");
  EXPECT_EQ(error.code, "");
  EXPECT_EQ(error.text, R"({"error":{"code":404}})");
  EXPECT_EQ(end_of_request(error), RequestEnd::kRefused);
  EXPECT_EQ(status_of("", std::string(5000, 'x')).text.size(), 200U);
}

}  // namespace
}  // namespace postrider
