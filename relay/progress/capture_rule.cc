#include "relay/progress/capture_rule.h"

#include <algorithm>

namespace postrider {

const CaptureRule* find_rule(const std::vector<CaptureRule>& rules, std::string_view schema,
                             std::string_view table) {
  for (const auto& rule : rules)
    if (std::ranges::any_of(rule.tables,
                            [&](const auto& p) { return matches_table(p, schema, table); }))
      return &rule;
  return nullptr;
}

bool carries_column(const CaptureRule& rule, const std::string& column) {
  const auto has = [&](const std::vector<std::string>& names) {
    return std::ranges::find(names, column) != names.end();
  };
  return !has(rule.exclude) && (rule.columns.empty() || has(rule.columns));
}

}  // namespace postrider
