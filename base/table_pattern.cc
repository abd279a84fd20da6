#include "base/table_pattern.h"

#include <cstddef>

namespace postrider {
namespace {

// '*' matches any run of characters.
bool matches_name(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

bool matches_table(std::string_view pattern, std::string_view schema, std::string_view table) {
  const auto dot = pattern.find('.');
  if (dot == std::string_view::npos) return false;
  return matches_name(pattern.substr(0, dot), schema) &&
         matches_name(pattern.substr(dot + 1), table);
}

}  // namespace postrider
