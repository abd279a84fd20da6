// Whether what is carried, and the passwords that open the way to it, cross a network in the clear.
// Pure, but for the PG* variables that libpq fills gaps from.
#pragma once

#include <string>

namespace postrider {

// Loopback by name or number, a Unix socket, or nothing (the library's default, which is local).
[[nodiscard]] bool is_local_host(const std::string& host);

// True when a connection with this conninfo may go to another machine without TLS that is insisted
// on (sslmode below require). A service file is not looked into.
[[nodiscard]] bool is_plain_postgres(const std::string& conninfo);
// The same of a NATS URL, or a list of them. `tls` says that TLS is configured besides.
[[nodiscard]] bool is_plain_nats(const std::string& url, bool tls);

// True when a password stands in the conninfo string, or in the URL.
[[nodiscard]] bool has_password(const std::string& conninfo);
[[nodiscard]] bool url_has_password(const std::string& url);

}  // namespace postrider
