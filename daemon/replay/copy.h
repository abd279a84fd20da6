// A message of a source's stream as a replay publishes it again. Pure: the copy is a function of
// the message and the replay alone, so that two runs of one replay store the same bytes.
//
//   Postrider-Replay: v1 stream seq from..until[ filter]
//
// stream, seq   where the original stands; the rest is what was asked for, as it was asked for
#pragma once

#include <string>

#include "base/jetstream/stream_info.h"
#include "relay/route/encoder.h"

namespace postrider {

inline constexpr std::string_view kReplayHeader = "Postrider-Replay";

struct ReplayIdentity {
  std::string source;  // whose subjects are replaced
  std::string stream;
  std::string prefix;  // by which
  std::string range;   // "from..until[ filter]"
};

// The value of the header for the original at `seq`.
[[nodiscard]] std::string replay_header(const ReplayIdentity& replay, std::uint64_t seq);
// Whether `value` was written by the same replay.
[[nodiscard]] bool is_same_replay(const ReplayIdentity& replay, std::string_view value);

// Keeps every header but those that speak to the server (Nats-*). Nats-Msg-Id is "replay/" and the
// position. The payload is moved out of `original`.
void copy_for_replay(const ReplayIdentity& replay, wire::StoredMessage& original,
                     const PositionHeader& place, Message& copy);

}  // namespace postrider
