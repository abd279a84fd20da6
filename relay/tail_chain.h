// The newest window of the stream, read back as a chain.
//
// Messages in flight name the sequence that must precede each. If somebody else's message takes one
// of those sequences, the event meant for it is refused, but those behind it are stored: ordinals
// still fit sequences, and only the headers tell. Whatever can have been in flight lies within one
// window of the stream's end, since a session ends with its first bad answer. So every session
// looks there before it goes on. The same way a relay that was paused over a promotion leaves a
// commit in the stream that the new primary never had, with later ones behind it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "relay/jetstream/client.h"
#include "relay/progress/mark.h"
#include "relay/progress/timeline_history.h"

namespace postrider {

struct ForeignMessage {
  std::uint64_t seq = 0;
  std::string what;
};

// Looks at the messages behind sequence `durable` and before `tail`, at most one window of them:
// by leader reads. Those that are gone by age tell nothing. `history` is the server's, `epochs` are
// the numbers of those that its checkpoint row knows. Throws Failure.
[[nodiscard]] std::optional<ForeignMessage> find_foreign(JetStreamClient& client,
                                                         const std::string& stream,
                                                         std::uint64_t durable, const Mark& tail,
                                                         const TimelineHistory& history,
                                                         const std::vector<std::uint32_t>& epochs);

}  // namespace postrider
