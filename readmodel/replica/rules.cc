#include "readmodel/replica/rules.h"

#include "base/table_pattern.h"
#include "readmodel/subject_pattern.h"

namespace postrider::replica {
namespace {

// Gives one column back its own name where two share one; false: none do.
bool part_names(std::vector<CarriedColumn>& columns, const std::vector<std::string>& own_names) {
  for (auto& column : columns) {
    const auto& own = own_names[column.index];
    if (column.name == own) continue;
    if (std::ranges::count(columns, column.name, &CarriedColumn::name) < 2) continue;
    column.name = own;
    return true;
  }
  return false;
}

}  // namespace

std::vector<CarriedColumn> carried_columns(const Carried& carried,
                                           const std::vector<std::string>& own_names) {
  std::vector<CarriedColumn> columns;
  for (std::size_t i = 0; i < own_names.size(); ++i) {
    if (!carried.carries(own_names[i])) continue;
    const auto renamed = carried.rename.find(own_names[i]);
    columns.push_back({i, renamed == carried.rename.end() ? own_names[i] : renamed->second});
  }
  while (part_names(columns, own_names)) {
  }
  return columns;
}

bool takes(const Rule& rule, const std::string& schema, const std::string& table) {
  return std::ranges::any_of(
      rule.tables, [&](const auto& pattern) { return matches_table(pattern, schema, table); });
}

FoundRule find_rule(const Options& options, const std::string& schema, const std::string& table,
                    const Carried& carried) {
  for (const auto& rule : options.rules) {
    if (!takes(rule, schema, table)) continue;
    const auto has = [&](Share share) {
      return std::ranges::any_of(carried.subjects, [&](const auto& subjects) {
        return share_of(rule.subjects, subjects) == share;
      });
    };
    if (rule.subjects.empty() || carried.subjects.empty()) return {&rule, true};
    if (has(Share::kPart) || has(Share::kAll))
      return {&rule, !has(Share::kPart) && !has(Share::kNone)};
  }
  return {};
}

std::optional<Carried> carried_of(const Options& options, const std::string& schema,
                                  const std::string& table) {
  if (!options.carried) return Carried{};
  return options.carried(schema, table);
}

}  // namespace postrider::replica
