#include "readmodel/verify/difference.h"

#include <algorithm>
#include <utility>

namespace postrider {
namespace {

// One side, read key by key.
class Side {
 public:
  explicit Side(const NextRow& next) : next_(next), row_(next()) {}

  [[nodiscard]] const std::string* key_hash() const { return row_ ? &row_->key_hash : nullptr; }
  // All rows of that key; none when the side stands behind it.
  std::vector<BagRow> take(const std::string& key_hash) {
    std::vector<BagRow> rows;
    while (row_ && row_->key_hash == key_hash) {
      rows.push_back(std::move(*row_));
      row_ = next_();
    }
    return rows;
  }

 private:
  const NextRow& next_;
  std::optional<BagRow> row_;
};

// Takes out what both have equally often, and reports what both have but not equally often. Both
// rise by their hashes, so one pass does.
void take_common(std::vector<BagRow>& source, std::vector<BagRow>& target,
                 std::vector<Difference>& found) {
  auto there = target.begin();
  for (auto& row : source) {
    while (there != target.end() && there->row_hash < row.row_hash) ++there;
    if (there == target.end()) break;
    if (there->row_hash != row.row_hash) continue;
    if (row.count != there->count)
      found.push_back(
          {row.count > there->count ? Difference::Kind::kMissing : Difference::Kind::kSurplus,
           row.key, row.row, there->row, row.count, there->count});
    row.count = there->count = 0;
  }
  const auto common = [](const BagRow& row) { return row.count == 0; };
  std::erase_if(source, common);
  std::erase_if(target, common);
}

void compare_key(std::vector<BagRow> source, std::vector<BagRow> target,
                 std::vector<Difference>& found) {
  take_common(source, target, found);
  const std::size_t pairs = std::min(source.size(), target.size());
  for (std::size_t i = 0; i < pairs; ++i)
    found.push_back({Difference::Kind::kDifferent, source[i].key, source[i].row, target[i].row,
                     source[i].count, target[i].count});
  for (std::size_t i = pairs; i < source.size(); ++i)
    found.push_back({Difference::Kind::kMissing, source[i].key, source[i].row, std::nullopt,
                     source[i].count, 0});
  for (std::size_t i = pairs; i < target.size(); ++i)
    found.push_back({Difference::Kind::kSurplus, target[i].key, std::nullopt, target[i].row, 0,
                     target[i].count});
}

}  // namespace

const char* to_string(Difference::Kind kind) {
  switch (kind) {
    case Difference::Kind::kMissing:
      return "missing";
    case Difference::Kind::kSurplus:
      return "surplus";
    case Difference::Kind::kDifferent:
      return "different";
  }
  return "?";
}

Differences find_differences(const NextRow& source, const NextRow& target, std::size_t limit) {
  Differences result;
  Side left(source);
  Side right(target);
  while (left.key_hash() != nullptr || right.key_hash() != nullptr) {
    const std::string* a = left.key_hash();
    const std::string* b = right.key_hash();
    const std::string key = a == nullptr ? *b : b == nullptr ? *a : std::min(*a, *b);
    auto rows = left.take(key);
    compare_key(std::move(rows), right.take(key), result.rows);
    if (result.rows.size() <= limit) continue;
    result.rows.resize(limit);
    result.complete = false;
    break;
  }
  return result;
}

}  // namespace postrider
