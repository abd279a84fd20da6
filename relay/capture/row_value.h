// How values of PostgreSQL's types are written in JSON; docs/capture.md, "Values". Pure.
//
//   bool                       true, false
//   int2 int4 int8 oid         number, digit for digit
//   float4 float8              number, the shortest that reads back the same; "NaN" and
//                              "Infinity", "-Infinity" as strings
//   json jsonb                 the value itself, byte for byte
//   everything else            string: PostgreSQL's own text, which its input function reads back
//
// Text depends on session settings, which relay/postgres/replication.cc pins.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postrider {

// Types that are built in have the same OID everywhere. Source: PostgreSQL, pg_type.dat.
namespace pg_type {
inline constexpr std::uint32_t kBool = 16;
inline constexpr std::uint32_t kBytea = 17;
inline constexpr std::uint32_t kInt8 = 20;
inline constexpr std::uint32_t kInt2 = 21;
inline constexpr std::uint32_t kInt4 = 23;
inline constexpr std::uint32_t kOid = 26;
inline constexpr std::uint32_t kJson = 114;
inline constexpr std::uint32_t kFloat4 = 700;
inline constexpr std::uint32_t kFloat8 = 701;
inline constexpr std::uint32_t kDate = 1082;
inline constexpr std::uint32_t kTime = 1083;
inline constexpr std::uint32_t kTimestamp = 1114;
inline constexpr std::uint32_t kTimestamptz = 1184;
inline constexpr std::uint32_t kJsonb = 3802;
}  // namespace pg_type

// Appends a value that is not NULL. `text` is what the server sent for it.
void append_value(std::string& out, std::uint32_t type, std::string_view text);

// True when the JSON that append_value writes is null although the value is not NULL.
[[nodiscard]] bool is_json_null(std::uint32_t type, std::string_view text);

// True for the text of a float that JSON has a number for.
[[nodiscard]] inline bool is_finite_float(std::string_view text) {
  return !text.empty() && text.find_first_of("Nn") == std::string_view::npos;  // NaN, Infinity
}

}  // namespace postrider
