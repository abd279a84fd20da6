// What a read model may hold.
#include <algorithm>

#include "tests/simulator/oracle.h"

namespace postrider::sim {

void Oracle::on_applied(const Cursor& from, const Cursor& to,
                        const std::vector<ReceivedEvent>& events) {
  if (to.ordinal < from.ordinal)
    return complain("the cursor falls from ordinal " + std::to_string(from.ordinal) + " to " +
                    std::to_string(to.ordinal));
  std::uint64_t next = from.ordinal + 1;
  for (const auto& event : events) {
    if (event.place.ordinal != next)
      return complain("ordinal " + std::to_string(event.place.ordinal) + " is applied behind " +
                      std::to_string(next - 1));
    next += event.parts;
  }
  if (next != to.ordinal + 1)
    return complain("the cursor moves to ordinal " + std::to_string(to.ordinal) +
                    ", events are applied up to " + std::to_string(next - 1));
  if (!events.empty() && !events.back().place.last)
    return complain("half a transaction is applied, up to ordinal " + std::to_string(next - 1));
  // What was never committed, or destroyed, may have been seen before.
  if (history_changed_ || foreign_ || destroyed_) return;
  extend();
  if (to.ordinal > expected_.size())
    return complain("ordinal " + std::to_string(to.ordinal) + " is applied, and not committed");
  for (const auto& event : events) {
    std::string payload;
    for (std::uint32_t part = 0; part < event.parts; ++part)
      payload += expected_[event.place.ordinal + part - 1].message.payload;
    if (payload != event.payload ||
        event.subject != expected_[event.place.ordinal - 1].message.subject)
      return complain("ordinal " + std::to_string(event.place.ordinal) + " is applied as " +
                      event.payload + " instead of " + payload);
  }
}

bool Oracle::lacks_behind(const Cursor& at) const {
  const auto& stream = broker_.stream();
  return stream && std::ranges::any_of(stream->messages, [&](const Stored& stored) {
           return stored.gone && stored.seq > at.ordinal;
         });
}

bool Oracle::may_halt(ErrorKind kind, const Cursor& at) const {
  if (history_changed_ || foreign_ || destroyed_) return true;
  return (kind == ErrorKind::kStreamBehind || kind == ErrorKind::kStreamGap) && lacks_behind(at);
}

}  // namespace postrider::sim
