// The stream sequence in a delivered message's reply subject. Pure.
//
//   $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//   $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>....   since 2.15 by
//   default
//
// Source: NATS ADR-15, "JetStream Subjects and Libraries".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace postrider {

// Nothing when the subject is of neither form.
[[nodiscard]] std::optional<std::uint64_t> stream_sequence(std::string_view reply);

}  // namespace postrider
