#include "readmodel/replica/rules.h"

#include "base/table_pattern.h"

namespace postrider::replica {

bool takes(const Rule& rule, const std::string& schema, const std::string& table) {
  return std::ranges::any_of(
      rule.tables, [&](const auto& pattern) { return matches_table(pattern, schema, table); });
}

const Rule* find_rule(const Options& options, const std::string& schema, const std::string& table) {
  const auto found = std::ranges::find_if(
      options.rules, [&](const Rule& rule) { return takes(rule, schema, table); });
  return found == options.rules.end() ? nullptr : &*found;
}

std::optional<Carried> carried_of(const Options& options, const std::string& schema,
                                  const std::string& table) {
  if (!options.carried) return Carried{};
  return options.carried(schema, table);
}

}  // namespace postrider::replica
