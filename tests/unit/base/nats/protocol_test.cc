#include "base/nats/protocol.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace postrider::nats {
namespace {

using Operation = std::optional<ServerOperation>;

void give(ServerReader& reader, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto room = reader.room();
    const auto count = std::min(room.size(), bytes.size());
    std::ranges::copy(bytes.substr(0, count), room.begin());
    reader.took(count);
    bytes.remove_prefix(count);
  }
}

template <class T>
T expect(ServerReader& reader) {
  const auto next = reader.next();
  EXPECT_TRUE(next && *next && std::holds_alternative<T>(**next));
  return next && *next && std::holds_alternative<T>(**next) ? std::get<T>(**next) : T{};
}

void expect_nothing(ServerReader& reader) {
  const auto next = reader.next();
  ASSERT_TRUE(next);
  EXPECT_FALSE(next->has_value());
}

TEST(NatsServerReader, TakesOperationsApartInTheirOrder) {
  ServerReader reader;
  give(reader,
       "INFO {\"headers\":true}\r\n+OK\r\nPING\r\nPONG\r\n-ERR 'Stale Connection'\r\n"
       "MSG a.b 1 5\r\nhello\r\nMSG a.b 23 reply.to 0\r\n\r\n");
  EXPECT_EQ(expect<ServerInfo>(reader).json, "{\"headers\":true}");
  expect<Ping>(reader);
  expect<Pong>(reader);
  EXPECT_EQ(expect<Refusal>(reader).text, "Stale Connection");
  const auto first = expect<Delivery>(reader);
  EXPECT_EQ(first.subject, "a.b");
  EXPECT_EQ(first.sid, "1");
  EXPECT_EQ(first.reply, "");
  EXPECT_EQ(first.payload, "hello");
  EXPECT_EQ(first.headers, "");
  const auto second = expect<Delivery>(reader);
  EXPECT_EQ(second.sid, "23");
  EXPECT_EQ(second.reply, "reply.to");
  EXPECT_EQ(second.payload, "");
  expect_nothing(reader);
}

TEST(NatsServerReader, TellsHeadersFromPayload) {
  ServerReader reader;
  give(reader, "HMSG s 1 r 17 20\r\nNATS/1.0\r\nA:B\r\n\r\nabc\r\n");
  auto delivery = expect<Delivery>(reader);
  EXPECT_EQ(delivery.reply, "r");
  EXPECT_EQ(delivery.headers, "NATS/1.0\r\nA:B\r\n\r\n");
  EXPECT_EQ(delivery.payload, "abc");
  EXPECT_FALSE(delivery.no_responders());
  give(reader, "HMSG s 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
  EXPECT_TRUE(expect<Delivery>(reader).no_responders());
}

// However the bytes were cut on their way, a payload that looks like protocol included.
TEST(NatsServerReader, DoesNotCareWhereReadsEnd) {
  const std::string text =
      "MSG a 1 12\r\nPING\r\n-ERR\r\n\r\nPING\r\nHMSG b 1 12 14\r\nNATS/1.0\r\n\r\nok\r\n";
  for (std::size_t size = 1; size <= text.size(); ++size) {
    ServerReader reader;
    std::string seen;
    for (std::size_t at = 0; at < text.size(); at += size) {
      give(reader, std::string_view(text).substr(at, size));
      while (true) {
        const auto next = reader.next();
        ASSERT_TRUE(next) << size;
        if (!*next) break;
        if (const auto* delivery = std::get_if<Delivery>(&**next))
          seen.append(delivery->subject).append("=").append(delivery->payload).append(";");
        else
          seen += "other;";
      }
    }
    EXPECT_EQ(seen, "a=PING\r\n-ERR\r\n;other;b=ok;") << size;
  }
}

TEST(NatsServerReader, HoldsAMessageLargerThanItsFirstRoom) {
  ServerReader reader;
  const std::string payload(300'000, 'x');
  give(reader, "PING\r\nMSG a 1 300000\r\n" + payload + "\r\nPONG\r\n");
  expect<Ping>(reader);
  EXPECT_EQ(expect<Delivery>(reader).payload, payload);
  expect<Pong>(reader);
  expect_nothing(reader);
}

TEST(NatsServerReader, RefusesWhatNoServerSends) {
  for (const char* text :
       {"HELLO\r\n", "MSG a 1\r\n", "MSG a 1 b c 5\r\n", "MSG a 1 -5\r\n", "MSG a 1 x\r\n",
        "MSG a 1 99999999999999999999999\r\n", "MSG a 1 99999999999\r\n", "HMSG a 1 9 5\r\n",
        "MSG a 1 2\r\nabcd\r\n", "MSGA 1 2\r\n", "HTTP/1.1 400 Bad Request\r\n"}) {
    ServerReader reader;
    give(reader, text);
    const auto next = reader.next();
    ASSERT_FALSE(next) << text;
    EXPECT_EQ(next.error().kind, ErrorKind::kBrokerUnavailable);
  }
}

TEST(NatsPublish, CountsHeadersAndPayload) {
  std::string out = "PING\r\n";
  const std::array<std::pair<std::string_view, std::string_view>, 1> first{{{"F", "1"}}};
  const std::vector<std::pair<std::string, std::string>> headers{{"Name", "value"}, {"E", ""}};
  const auto reply_end = append_publish(out, "a.b", "r", first, headers, "pay\r\nload");
  EXPECT_EQ(out.substr(0, reply_end), "PING\r\nHPUB a.b r");
  EXPECT_EQ(out,
            "PING\r\nHPUB a.b r 36 45\r\nNATS/1.0\r\nF: 1\r\nName: value\r\nE: \r\n\r\npay\r\nload"
            "\r\n");
  out.clear();
  append_publish(out, "a.b", "", "");
  append_publish(out, "a.b", "r", "x");
  EXPECT_EQ(out, "PUB a.b 0\r\n\r\nPUB a.b r 1\r\nx\r\n");
}

}  // namespace
}  // namespace postrider::nats
