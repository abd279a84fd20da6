// bytea in hex format, which the replication connection pins: "\x" and two digits a byte. Pure.
#pragma once

#include <string>
#include <string_view>

namespace postrider::wire {

// Writes the bytes over `out`; false for other text, of which nothing is promised.
[[nodiscard]] bool decode_bytea(std::string_view text, std::string& out);

}  // namespace postrider::wire
