// Free loopback ports.
#pragma once

#include <cstdint>

namespace postrider::dev {

// A port that nobody listens on now, below the range from which the kernel serves outgoing
// connections, so that a server can be started on it now or later: no other call, in this process
// or in another of this machine, gets it before this process ends. Throws when none is found.
// Threads: any.
[[nodiscard]] std::uint16_t free_port();

}  // namespace postrider::dev
