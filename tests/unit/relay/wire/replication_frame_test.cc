#include "relay/wire/replication_frame.h"

#include <gtest/gtest.h>

#include "tests/unit/relay/wire/pgoutput_bytes.h"

namespace postrider::wire {
namespace {

using postrider::test::MessageBytes;

TEST(ReplicationFrame, ReadsDataAndKeepalive) {
  const auto data = MessageBytes('w').i64(1).i64(2).i64(3).raw("payload");
  const auto frame = decode_replication_frame(data.bytes());
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(std::get<XLogData>(*frame).payload.size(), 7U);
  const auto beat = MessageBytes('k').i64(0x99).i64(0).i8(1);
  const auto keepalive = decode_replication_frame(beat.bytes());
  ASSERT_TRUE(keepalive.has_value());
  EXPECT_EQ(std::get<Keepalive>(*keepalive).end, Lsn{0x99});
  EXPECT_TRUE(std::get<Keepalive>(*keepalive).reply_requested);
}

TEST(ReplicationFrame, RefusesTruncationAndUnknownKinds) {
  const auto beat = MessageBytes('k').i64(0x99).i64(0).i8(1).text();
  for (std::size_t size = 0; size < beat.size(); ++size) {
    const auto cut = beat.substr(0, size);
    EXPECT_FALSE(decode_replication_frame(MessageBytes::of(cut)).has_value()) << size;
  }
  EXPECT_FALSE(decode_replication_frame(MessageBytes('z').i64(0).bytes()).has_value());
}

TEST(StatusUpdate, SaysReceivedAndConfirmed) {
  const auto status = encode_status_update(Lsn{0x0102}, Lsn{0x0101}, true);
  const auto at = [&](std::size_t i) { return std::to_integer<int>(status[i]); };
  EXPECT_EQ(at(0), 'r');
  EXPECT_EQ(at(7), 1);
  EXPECT_EQ(at(8), 2) << "written: what was received";
  EXPECT_EQ(at(15), 1);
  EXPECT_EQ(at(16), 1) << "flushed: only what was confirmed";
  EXPECT_EQ(at(kStatusUpdateSize - 1), 1);
}

}  // namespace
}  // namespace postrider::wire
