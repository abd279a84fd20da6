// The rows in which two sides differ. Pure.
//
// Both sides are bags: a row that is there twice on one side and once on the other is a difference.
// Rows are told apart by the hashes of their text, and shown by their text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace postrider {

struct BagRow {
  std::string key_hash;
  std::string row_hash;
  std::string key;
  std::string row;
  std::uint64_t count = 0;  // how often this very row is there
};

struct Difference {
  enum class Kind : std::uint8_t {
    kMissing,    // the source has it more often than the target
    kSurplus,    // the target has it more often than the source
    kDifferent,  // a row of the same key stands in its place
  };
  Kind kind = Kind::kMissing;
  std::string key;
  std::optional<std::string> source_row;
  std::optional<std::string> target_row;
  std::uint64_t source_count = 0;  // of source_row, or of the one row that both have
  std::uint64_t target_count = 0;
};
[[nodiscard]] const char* to_string(Difference::Kind kind);

// The next row of one side, rising in (key_hash, row_hash) without repetition; nothing at the end.
using NextRow = std::function<std::optional<BagRow>()>;

struct Differences {
  std::vector<Difference> rows;
  bool complete = true;  // false: there are more than `limit`
};
// Holds the rows of one key at a time, besides the differences.
[[nodiscard]] Differences find_differences(const NextRow& source, const NextRow& target,
                                           std::size_t limit);

}  // namespace postrider
