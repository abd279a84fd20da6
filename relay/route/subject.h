// What a NATS subject of ours may hold. libnats checks nothing: a CR/LF in a subject is sent as it
// is and injects protocol, so the allow-list is the relay's own second line behind outbox.emit.
#pragma once

#include <string_view>

namespace postrider {

// The subject part that a service chooses: tokens of [A-Za-z0-9_%=+:@/~-] separated by single dots,
// not starting with '$' or '_', at most this many bytes.
inline constexpr std::size_t kMaxSubjectSize = 200;
// Subjects of row changes, made from a template: nats-server takes a protocol line of 4 KiB.
inline constexpr std::size_t kMaxRowSubjectSize = 2000;

[[nodiscard]] bool is_valid_event_subject(std::string_view subject,
                                          std::size_t longest = kMaxSubjectSize);

}  // namespace postrider
