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

}  // namespace postrider
