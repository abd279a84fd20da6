// Which nats-server answers. nats.c keeps the version that the server greets with to itself, so it
// is read from the greeting of a second connection, which is then closed. Source: NATS
// documentation, "Client Protocol", INFO.
#pragma once

#include <chrono>
#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace postrider {

struct ServerVersion {
  int major = 0;
  int minor = 0;
  int patch = 0;
  std::string text;  // as the server says it, such as "2.11.0-preview.2"

  [[nodiscard]] bool between(const ServerVersion& first, const ServerVersion& last) const;
  // It knows the stream setting allow_batched: 2.14 and newer.
  [[nodiscard]] bool has_fast_ingest() const;
};

// "2.10.14", or with something behind it. Pure, as the next.
[[nodiscard]] std::optional<ServerVersion> parse_server_version(std::string_view text);
// The version in a greeting, "INFO {...}".
[[nodiscard]] std::optional<ServerVersion> parse_greeting(std::string_view line);

// Asks the server behind a NATS URL. Nothing when it does not greet within `timeout`, or only after
// a TLS handshake.
[[nodiscard]] std::optional<ServerVersion> read_server_version(const std::string& url,
                                                               std::chrono::milliseconds timeout);

}  // namespace postrider
