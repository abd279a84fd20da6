#include "relay/capture/captured_columns.h"

#include <algorithm>
#include <string_view>

#include "relay/capture/sha256.h"

namespace postrider {
namespace {

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

CapturedColumn::Value value_of(const CaptureRule& rule, std::string_view name) {
  if (contains(rule.hash, name)) return CapturedColumn::Value::kHashed;
  if (contains(rule.mask, name)) return CapturedColumn::Value::kMasked;
  return CapturedColumn::Value::kAsItIs;
}

// Gives one column back its own name where two share one; false: none do. Own names differ, so it
// comes to an end.
bool part_names(std::vector<CapturedColumn>& columns) {
  for (auto& column : columns) {
    if (column.name == column.own_name) continue;
    if (std::ranges::count(columns, column.name, &CapturedColumn::name) < 2) continue;
    column.name = column.own_name;
    return true;
  }
  return false;
}

}  // namespace

std::vector<CapturedColumn> captured_columns(const wire::Relation& relation,
                                             const CaptureRule& rule) {
  // With a full identity every column is flagged: which of them is the key, the WAL does not say.
  const bool full = relation.identity == wire::ReplicaIdentity::kFull;
  std::vector<CapturedColumn> columns;
  for (std::size_t i = 0; i < relation.columns.size(); ++i) {
    const auto& column = relation.columns[i];
    const std::string own(column.name);
    if (!carries_column(rule, own)) continue;
    const auto renamed = rule.rename.find(own);
    columns.push_back({i, renamed == rule.rename.end() ? own : renamed->second, own, column.type,
                       column.key && !full, value_of(rule, own)});
  }
  while (part_names(columns)) {
  }
  return columns;
}

const wire::Tuple& ReplacedRow::of(const wire::Tuple& row,
                                   const std::vector<CapturedColumn>& columns,
                                   const std::string& salt) {
  row_ = row;
  hashes_.resize(columns.size());
  for (std::size_t i = 0; i < columns.size(); ++i) {
    auto& value = row_[columns[i].index];
    if (!columns[i].replaced() || value.kind != wire::Value::Kind::kText) continue;
    if (columns[i].value == CapturedColumn::Value::kMasked) {
      value.data = "***";
      continue;
    }
    write_sha256(salt, value.data, hashes_[i]);
    value.data = hashes_[i];
  }
  return row_;
}

}  // namespace postrider
