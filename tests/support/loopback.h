// TCP on loopback, as the tests' own clients and proxies need it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace postrider::test {

// A socket that listens; port 0: any that is free. The caller closes it. Throws std::runtime_error.
[[nodiscard]] int listen_on_loopback(std::uint16_t port, int flags = 0);
// The port of a socket that listens.
[[nodiscard]] std::uint16_t port_of(int listener);
// A blocking connection, which the caller closes; -1 when nobody listens there.
[[nodiscard]] int connect_to_loopback(std::uint16_t port);

// The whole answer to a GET, with its status line; empty when there was none. Blocks.
[[nodiscard]] std::string http_get(std::uint16_t port, const std::string& path);
// The first value of that metric which a daemon shows at the port; nothing while it shows none.
[[nodiscard]] std::optional<double> metric(std::uint16_t port, const std::string& name);

}  // namespace postrider::test
