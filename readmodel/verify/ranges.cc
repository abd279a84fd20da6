#include "readmodel/verify/ranges.h"

namespace postrider {

std::vector<std::string> differing(const std::vector<RangeSum>& source,
                                   const std::vector<RangeSum>& target) {
  std::vector<std::string> ranges;
  auto s = source.begin();
  auto t = target.begin();
  while (s != source.end() || t != target.end()) {
    if (t == target.end() || (s != source.end() && s->range < t->range)) {
      ranges.push_back((s++)->range);
    } else if (s == source.end() || t->range < s->range) {
      ranges.push_back((t++)->range);
    } else {
      if (*s != *t) ranges.push_back(s->range);
      ++s;
      ++t;
    }
  }
  return ranges;
}

std::uint64_t rows_of(const std::vector<RangeSum>& side) {
  std::uint64_t rows = 0;
  for (const auto& sum : side) rows += sum.rows;
  return rows;
}

}  // namespace postrider
