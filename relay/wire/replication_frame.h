// The frames inside a replication connection's COPY stream, both ways. Pure.
//
//   server: 'w' start:u64 end:u64 sent:i64 payload...         XLogData; payload is one pgoutput
//   message
//           'k' end:u64 sent:i64 reply_requested:u8           keepalive
//   client: 'r' written:u64 flushed:u64 applied:u64 sent:i64 reply:u8    standby status update
//
// Source: PostgreSQL documentation, "Streaming Replication Protocol".
#pragma once

#include <array>
#include <cstdint>
#include <variant>

#include "base/error.h"
#include "postrider/lsn.h"
#include "relay/wire/byte_reader.h"

namespace postrider::wire {

struct XLogData {
  // The header's start is the first change's LSN and runs behind earlier commits: never a position.
  Bytes payload;  // views the frame
};

struct Keepalive {
  Lsn end;  // how far the server has decoded and sent; may fall back after a reconnect
  bool reply_requested = false;
};

using ReplicationFrame = std::variant<XLogData, Keepalive>;

// kProtocol for anything that is not exactly one of the two frames.
[[nodiscard]] Result<ReplicationFrame> decode_replication_frame(Bytes frame);

inline constexpr std::size_t kStatusUpdateSize = 1 + 8 * 4 + 1;

// `confirmed` is what PostgreSQL may forget; `received` only feeds its lag views.
[[nodiscard]] std::array<std::byte, kStatusUpdateSize> encode_status_update(Lsn received,
                                                                            Lsn confirmed,
                                                                            bool request_reply);

}  // namespace postrider::wire
