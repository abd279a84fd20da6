#include "daemon/replay/copy.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

const ReplayIdentity kReplay{"shop", "SHOP", "again.shop", "ordinal:5..end order.>"};

wire::StoredMessage original() {
  wire::StoredMessage message;
  message.seq = 70;
  message.subject = "shop.order.placed";
  message.headers =
      "NATS/1.0\r\nPostrider-Position: v1 9 00000001/0000000000000005/00000000 3 4 1 last\r\n"
      "Nats-Msg-Id: x\r\nNats-Expected-Last-Sequence: 69\r\ntrace: a: b\r\nempty:\r\n\r\n";
  message.data = "{}";
  return message;
}

TEST(ReplayCopy, KeepsEveryHeaderButThoseThatSpeakToTheServer) {
  auto message = original();
  const auto place = wire::position_header(message);
  Message copy;
  copy_for_replay(kReplay, message, *place, copy);
  EXPECT_EQ(copy.subject, "again.shop.order.placed");
  EXPECT_EQ(copy.payload, "{}");
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"Postrider-Position", "v1 9 00000001/0000000000000005/00000000 3 4 1 last"},
      {"trace", "a: b"},
      {"empty", ""},
      {"Nats-Msg-Id", "replay/00000001/0000000000000005/00000000"},
      {"Postrider-Replay", "v1 SHOP 70 ordinal:5..end order.>"}};
  EXPECT_EQ(copy.headers, expected);
}

TEST(ReplayCopy, KnowsItsOwn) {
  EXPECT_TRUE(is_same_replay(kReplay, replay_header(kReplay, 12)));
  auto other = kReplay;
  other.range = "ordinal:5..end";
  EXPECT_FALSE(is_same_replay(kReplay, replay_header(other, 12)));
  other = kReplay;
  other.stream = "SHOP2";
  EXPECT_FALSE(is_same_replay(kReplay, replay_header(other, 12)));
  EXPECT_FALSE(is_same_replay(kReplay, ""));
}

}  // namespace
}  // namespace postrider
