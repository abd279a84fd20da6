#include "relay/route/parts.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "relay/route/encoder.h"

namespace postrider {
namespace {

class Parts : public ::testing::Test {
 protected:
  Parts() {
    event_.subject = "cdc.public.a";
    epoch_.settings.source = "shop";
    epoch_.settings.part_bytes = 10;
    whole_.position = {1, Lsn{0x1A2B}, 4, std::nullopt};
    whole_.epoch = &epoch_;
    whole_.last = true;
    whole_.event = &event_;
  }
  std::uint32_t count(std::size_t bytes) {
    event_.payload.assign(bytes, 'x');
    return part_count(whole_).value();
  }

  OutboxEvent event_;
  Epoch epoch_;
  AssembledEvent whole_;
};

TEST_F(Parts, AreAsManyAsThePayloadNeeds) {
  EXPECT_EQ(count(0), 1U);
  EXPECT_EQ(count(10), 1U);
  EXPECT_EQ(count(11), 2U);
  EXPECT_EQ(count(20), 2U);
  EXPECT_EQ(count(21), 3U);
  EXPECT_EQ(count(10 * kMostParts), kMostParts);
  event_.payload += 'x';
  EXPECT_EQ(part_count(whole_).error().kind, ErrorKind::kTooLarge);
}

TEST_F(Parts, AreNeverMadeOfAServicesEventNorInAnEpochWithout) {
  event_.id = "id";
  EXPECT_EQ(count(100), 1U);
  event_.id.clear();
  epoch_.settings.part_bytes = 0;
  EXPECT_EQ(count(100), 1U);
}

TEST_F(Parts, JoinedAreThePayloadAndOnlyTheLastEndsTheTransaction) {
  event_.payload = "0123456789abcdefghijABCDE";
  std::string joined;
  Message message;
  for (std::uint32_t number = 0; number < 3; ++number) {
    const auto part = message_of(whole_, number, 3);
    EXPECT_EQ(part.position.part, number);
    EXPECT_EQ(part.last, number == 2);
    ASSERT_TRUE(encode(part, 7 + number, message));
    joined += message.payload;
    EXPECT_LE(message.payload.size(), 10U);
    EXPECT_NE(
        std::ranges::find(message.headers, std::pair<std::string, std::string>(kPartsHeader, "3")),
        message.headers.end());
  }
  EXPECT_EQ(joined, event_.payload);
  whole_.last = false;
  EXPECT_FALSE(message_of(whole_, 2, 3).last);
}

TEST_F(Parts, ATombstoneFollowsThemWithoutPayload) {
  event_.tombstone = true;
  event_.payload = "0123456789abcde";
  event_.key = "k";
  for (const std::uint32_t parts : {1U, 2U}) {
    epoch_.settings.part_bytes = parts == 1 ? 100 : 10;
    ASSERT_EQ(part_count(whole_).value(), parts);
    ASSERT_EQ(message_count(whole_, parts), parts + 1);
    EXPECT_FALSE(message_of(whole_, parts - 1, parts).last);
    const auto tombstone = message_of(whole_, parts, parts);
    EXPECT_TRUE(tombstone.last);
    EXPECT_EQ(tombstone.position.part, parts);
    Message message;
    ASSERT_TRUE(encode(tombstone, 9, message));
    EXPECT_EQ(message.payload, "");
    EXPECT_TRUE(std::ranges::none_of(message.headers,
                                     [](const auto& h) { return h.first == kPartsHeader; }));
  }
}

TEST_F(Parts, NeedRoomForTheirHeaders) {
  EXPECT_TRUE(require_room_for_parts(0, 1, "x"));
  EXPECT_TRUE(require_room_for_parts(1000, 1000 + kPartHeadroom, "x"));
  const auto refused = require_room_for_parts(1000, 999 + kPartHeadroom, "max_payload");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kTooLarge);
  EXPECT_NE(refused.error().remedy.find("max_payload"), std::string::npos);
}

}  // namespace
}  // namespace postrider
