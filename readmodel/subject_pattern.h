// NATS subject patterns: `*` stands for one token, `>` at the end for one or more. Pure.
// Source: NATS documentation, "Subject-Based Messaging".
#pragma once

#include <cstdint>
#include <string_view>

namespace postrider {

[[nodiscard]] bool is_valid_pattern(std::string_view pattern);
[[nodiscard]] bool matches(std::string_view pattern, std::string_view subject);

// How much of what `of`, a pattern too, stands for a pattern matches. kPart where that is not known
// to be all or nothing.
enum class Share : std::uint8_t { kNone, kPart, kAll };
[[nodiscard]] Share share_of(std::string_view pattern, std::string_view of);

}  // namespace postrider
