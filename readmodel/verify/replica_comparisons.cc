#include "readmodel/verify/replica_comparisons.h"

#include <algorithm>
#include <optional>

#include "base/postgres/conninfo.h"
#include "readmodel/postgres/source_catalog.h"
#include "readmodel/postgres/target_catalog.h"
#include "readmodel/postgres/translate.h"
#include "readmodel/replica/statements.h"

namespace postrider {
namespace {

using replica::quoted_name;
using replica::TargetTable;

bool has_column(const std::optional<TargetTable>& target, const std::string& name) {
  return target &&
         std::ranges::find(target->columns, name, &replica::Column::name) != target->columns.end();
}

void append(std::string& list, const std::string& item) {
  list += (list.empty() ? "" : ", ") + item;
}

// Whatever the session's standard_conforming_strings says.
std::string literal(const std::string& text) {
  std::string quoted = "E'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += c;
    quoted += c;
  }
  return quoted + "'";
}

// A column of the source as its events carry it. A composite of NULLs is a value, though it IS
// NULL.
std::string carried_value(const std::string& column, const replica::Carried& carried) {
  const auto name = quoted_name(column);
  const auto unless_null = [&](const std::string& value) {
    return "CASE WHEN pg_catalog.num_nonnulls(" + name + ") = 1 THEN " + value + " END";
  };
  if (carried.hashes(column))
    return unless_null("pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(" +
                       literal(carried.hash_salt) + " || pg_catalog.format('%s', " + name +
                       "), 'UTF8')), 'hex')");
  return carried.masks(column) ? unless_null("'***'") : name;
}

// Nothing when the table has no column to compare.
std::optional<Comparison> comparison_of(const SourceTable& source,
                                        const std::optional<TargetTable>& target,
                                        const replica::Rule& rule,
                                        const replica::Carried& carried) {
  Comparison comparison;
  comparison.name = source.schema + "." + source.name;
  std::vector<std::string> columns;
  std::string there;
  std::string here;
  for (const auto& column : replica_columns(source, carried)) {
    const bool is_there = has_column(target, column.name);
    if (rule.on_new_column == replica::OnNewColumn::kIgnore && !is_there) continue;
    const auto name = quoted_name(column.name);
    columns.push_back(column.name);
    append(there, carried_value(column.source.name, carried) + " AS " + name);
    // A column without an event so far: every row has NULL there.
    append(here, is_there ? name : "NULL AS " + name);
  }
  if (columns.empty()) return std::nullopt;
  // Tables that inherit from it are captured by themselves.
  comparison.source_query = "SELECT " + there + (source.partitioned ? " FROM " : " FROM ONLY ") +
                            quoted_name(source.schema) + "." + quoted_name(source.name) +
                            (carried.where.empty() ? "" : " WHERE (" + carried.where + ")");
  comparison.target_query =
      "SELECT " + here +
      (target ? " FROM " + replica::own_rows(*target) : std::string(" WHERE false"));
  if (target)
    for (const std::size_t i : target->key_columns())
      comparison.key.push_back(target->columns[i].name);
  const bool has_key =
      !comparison.key.empty() && std::ranges::all_of(comparison.key, [&](const auto& name) {
        return std::ranges::find(columns, name) != columns.end();
      });
  if (!has_key) comparison.key = columns;  // rows are bags
  return comparison;
}

}  // namespace

std::vector<Comparison> replica_comparisons(const replica::Options& options,
                                            const std::string& target_conninfo) {
  const auto tables = SourceCatalog(options.source_conninfo).all();
  return translated([&] {
    pqxx::connection connection(with_defaults(target_conninfo, liveness_defaults()));
    pqxx::read_transaction tx(connection);
    std::vector<Comparison> comparisons;
    for (const auto& table : tables) {
      const auto carried = replica::carried_of(options, table.schema, table.name);
      if (!carried) continue;
      const auto [rule, whole] = replica::find_rule(options, table.schema, table.name, *carried);
      if (rule == nullptr) continue;
      const auto target = find_target_table(tx, rule->schema, table.name);
      if (!target && !options.carried) continue;
      auto comparison = comparison_of(table, target, *rule, *carried);
      if (!comparison) continue;
      if (!whole)
        comparison->problem = "replica.subjects \"" + rule->subjects +
                              "\" takes a part of its rows: its replica is no copy";
      comparisons.push_back(std::move(*comparison));
    }
    return comparisons;
  });
}

}  // namespace postrider
