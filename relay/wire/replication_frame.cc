#include "relay/wire/replication_frame.h"

#include <string>

namespace postrider::wire {

Result<ReplicationFrame> decode_replication_frame(Bytes frame) {
  ByteReader reader(frame);
  const char kind = static_cast<char>(reader.u8());
  if (kind == 'w') {
    (void)reader.u64();  // start
    (void)reader.u64();  // end
    (void)reader.i64();  // sent
    XLogData data{reader.tail()};
    if (reader.ok()) return data;
  } else if (kind == 'k') {
    Keepalive keepalive;
    keepalive.end = Lsn{reader.u64()};
    (void)reader.i64();  // sent
    keepalive.reply_requested = reader.u8() != 0;
    if (reader.at_end()) return keepalive;
  }
  return fail(ErrorKind::kProtocol, "a replication frame of " + std::to_string(frame.size()) +
                                        " bytes is neither XLogData nor a keepalive");
}

std::array<std::byte, kStatusUpdateSize> encode_status_update(Lsn received, Lsn confirmed,
                                                              bool request_reply) {
  std::array<std::byte, kStatusUpdateSize> frame{};
  frame[0] = std::byte{'r'};
  const auto put = [&frame](std::size_t at, std::uint64_t value) {
    for (std::size_t i = 8; i-- > 0; value >>= 8U) frame[at + i] = std::byte(value & 0xFFU);
  };
  put(1, received.value);
  put(9, confirmed.value);
  put(17, confirmed.value);
  put(25, 0);  // the server ignores the client's clock
  frame[33] = std::byte(request_reply ? 1 : 0);
  return frame;
}

}  // namespace postrider::wire
