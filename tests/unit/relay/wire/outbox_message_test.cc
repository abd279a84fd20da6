#include "relay/wire/outbox_message.h"

#include <gtest/gtest.h>

#include "tests/unit/relay/wire/pgoutput_bytes.h"

namespace postrider::wire {
namespace {

using namespace postrider::test;

TEST(OutboxMessage, ReadsWhatEmitWrites) {
  const auto content = outbox_content("a.b", "payload");
  const auto message = decode_outbox_message(MessageBytes::of(content));
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->subject, "a.b");
  EXPECT_EQ(message->payload, "payload");
  EXPECT_FALSE(message->key || message->type || message->content_type || message->headers);
  std::string id;
  append_uuid(id, message->id);
  EXPECT_EQ(id, "abababab-abab-abab-abab-abababababab");
}

TEST(OutboxMessage, AnEmptyPayloadIsOne) {
  const auto content = outbox_content("a", "");
  EXPECT_TRUE(decode_outbox_message(MessageBytes::of(content)).has_value());
}

TEST(OutboxMessage, RefusesEveryTruncationOfItsFields) {
  const auto content = outbox_content("a.b", "");
  for (std::size_t size = 0; size < content.size(); ++size) {
    const auto cut = content.substr(0, size);
    const auto message = decode_outbox_message(MessageBytes::of(cut));
    ASSERT_FALSE(message.has_value()) << size;
    EXPECT_EQ(message.error().kind, ErrorKind::kMalformedEvent);
  }
}

TEST(OutboxMessage, RefusesAnotherVersionNegativeLengthsAndAMissingSubject) {
  auto version = outbox_content("a", "x");
  version[0] = '\x02';
  EXPECT_FALSE(decode_outbox_message(MessageBytes::of(version)).has_value());
  auto negative = outbox_content("a", "x");
  negative.replace(17, 4, "\xff\xff\xff\xfe");
  EXPECT_FALSE(decode_outbox_message(MessageBytes::of(negative)).has_value());
  auto missing = outbox_content("", "x");
  missing.replace(17, 4, "\xff\xff\xff\xff");
  EXPECT_FALSE(decode_outbox_message(MessageBytes::of(missing)).has_value());
}

}  // namespace
}  // namespace postrider::wire
