// Free loopback ports.
#pragma once

#include <cstdint>

namespace postrider::dev {

// A port that nobody listens on now, below the range from which the kernel serves outgoing
// connections, so that a server can be started on it again later. Throws when none is found.
[[nodiscard]] std::uint16_t free_port();

}  // namespace postrider::dev
