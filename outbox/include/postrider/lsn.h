// A place in PostgreSQL's write-ahead log.
// Source: PostgreSQL documentation, "pg_lsn Type".
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postrider {

// A byte offset into the WAL. Zero is "invalid" in PostgreSQL and "none" here.
struct Lsn {
  std::uint64_t value = 0;

  friend constexpr auto operator<=>(Lsn, Lsn) = default;
  [[nodiscard]] constexpr bool is_none() const { return value == 0; }

  // PostgreSQL's text form: two hexadecimal halves without leading zeros, "16/B374D848".
  [[nodiscard]] std::string to_string() const;
  // Reads PostgreSQL's text form; nothing for anything else.
  [[nodiscard]] static std::optional<Lsn> parse(std::string_view text);
};

}  // namespace postrider
