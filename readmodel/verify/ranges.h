// Ranges of keys by a hash of the key, and which of them differ between two sides. Pure.
//
// A range's sum is that of all its rows: how many there are, and the exact sum of a 128-bit hash of
// each row's text, in two halves. It does not depend on the order of the rows, and counts a row
// that is there twice twice. Equal sums of different rows are as likely as equal 128-bit hashes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace postrider {

struct RangeSum {
  std::string range;  // leading hexadecimal digits of the key's hash
  std::uint64_t rows = 0;
  std::string high;  // sums of the hash's halves, decimal, as PostgreSQL's numeric prints them
  std::string low;

  friend bool operator==(const RangeSum&, const RangeSum&) = default;
};

// The ranges that are not the same on both sides, rising. Each side is rising in `range`; a range
// that is absent holds no row.
[[nodiscard]] std::vector<std::string> differing(const std::vector<RangeSum>& source,
                                                 const std::vector<RangeSum>& target);

[[nodiscard]] std::uint64_t rows_of(const std::vector<RangeSum>& side);

}  // namespace postrider
