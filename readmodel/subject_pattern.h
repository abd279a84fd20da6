// NATS subject patterns: `*` stands for one token, `>` at the end for one or more. Pure.
// Source: NATS documentation, "Subject-Based Messaging".
#pragma once

#include <string_view>

namespace postrider {

[[nodiscard]] bool is_valid_pattern(std::string_view pattern);
[[nodiscard]] bool matches(std::string_view pattern, std::string_view subject);

}  // namespace postrider
