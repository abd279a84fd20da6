#include "readmodel/postgres/replica_tables.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "readmodel/postgres/target_catalog.h"
#include "readmodel/replica/statements.h"
#include "readmodel/subject_pattern.h"

namespace postrider {
namespace {

using replica::full_name;
using replica::OnNewColumn;
using replica::quoted_name;
using replica::Rule;

bool takes_subject_of(const Rule& rule, std::string_view subject) {
  return rule.subjects.empty() || matches(rule.subjects, subject);
}

std::string name_of(std::string_view json) {
  std::string name;
  return replica::append_unescaped(name, json) ? name : std::string(json);
}

std::string quoted(const std::string& schema, const std::string& table) {
  return quoted_name(schema) + "." + quoted_name(table);
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + quoted_name(name);
  return text;
}

}  // namespace

ReplicaTables::ReplicaTables(replica::Options options) : options_(std::move(options)) {}

bool ReplicaTables::takes_subject(std::string_view subject) const {
  return std::ranges::any_of(options_.rules,
                             [&](const Rule& rule) { return takes_subject_of(rule, subject); });
}

ReplicaTable* ReplicaTables::find(pqxx::transaction_base& tx, const replica::RowJson& row,
                                  std::string_view subject) {
  for (std::size_t i = 0; i < options_.rules.size(); ++i) {
    const Rule& rule = options_.rules[i];
    if (!takes_subject_of(rule, subject)) continue;
    name_.assign(std::to_string(i)).append(row.schema).append(row.table);
    auto found = tables_.find(name_);
    if (found == tables_.end()) {
      const Name source{name_of(row.schema), name_of(row.table)};
      const std::string key = name_;
      found = tables_
                  .emplace(key, takes(rule, source.first, source.second) ? bind(tx, rule, source)
                                                                         : nullptr)
                  .first;
    }
    if (found->second) return found->second.get();
  }
  return nullptr;
}

std::unique_ptr<ReplicaTable> ReplicaTables::bind(pqxx::transaction_base& tx, const Rule& rule,
                                                  const Name& source) {
  auto target = find_target_table(tx, rule.schema, source.second);
  if (!target && rule.create) {
    create(tx, rule, source);
    target = find_target_table(tx, rule.schema, source.second);
  }
  if (!target)
    throw Failure(ErrorKind::kReplicaTable,
                  "there is no table " + quoted(rule.schema, source.second) +
                      " for rows of the source's " + quoted(source.first, source.second),
                  "make it with `postrider replica create` or by hand, or set replica.create = "
                  "true, or narrow replica.tables; then start the applier again");
  const auto [other, is_new] = sources_.emplace(Name{rule.schema, source.second}, source);
  if (!is_new && other->second != source)
    throw Failure(ErrorKind::kReplicaTable,
                  "rows of " + quoted(source.first, source.second) + " and of " +
                      quoted(other->second.first, other->second.second) + " would both go into " +
                      quoted(rule.schema, source.second),
                  "give one of them another replica.schema, in a [[replica]] of its own");
  auto table =
      std::make_unique<ReplicaTable>(rule, source.first, source.second, std::move(*target));
  for (const auto& column : ignored_[source]) table->decoder.ignore(column);
  return table;
}

replica::Carried ReplicaTables::carried(const Name& source) const {
  return replica::carried_of(options_, source.first, source.second).value_or(replica::Carried{});
}

void ReplicaTables::create(pqxx::transaction_base& tx, const Rule& rule, const Name& source) {
  const auto table = SourceCatalog(options_.source_conninfo).find(source.first, source.second);
  if (!table)
    throw Failure(ErrorKind::kReplicaTable,
                  "replica.create: the source no longer has table " +
                      quoted(source.first, source.second) + ", whose rows are in the stream",
                  "make " + quoted(rule.schema, source.second) +
                      " by hand, or narrow replica.tables; then start the applier again");
  require_types(tx, *table, carried(source));
  define(tx, create_table(*table, rule.schema, carried(source)));
  altered_ = true;
  spdlog::info("replica: made table {}", quoted(rule.schema, source.second));
}

void ReplicaTables::extend(pqxx::transaction_base& tx, const ReplicaTable& table,
                           const std::vector<std::string>& unknown) {
  const Name source{table.source_schema, table.source_name};
  auto names = unknown;
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  // Somebody may have added them since.
  const auto fresh = find_target_table(tx, table.target.schema, table.target.name);
  std::erase_if(names, [&](const auto& name) {
    return fresh &&
           std::ranges::find(fresh->columns, name, &replica::Column::name) != fresh->columns.end();
  });
  if (!names.empty()) {
    switch (table.rule.on_new_column) {
      case OnNewColumn::kHalt:
        throw Failure(
            ErrorKind::kReplicaTable,
            full_name(table.target) + " lacks " + list(names) + ", which rows of the source's " +
                quoted(source.first, source.second) + " have",
            "ALTER TABLE " + full_name(table.target) + " ADD COLUMN " + quoted_name(names.front()) +
                " ... as the source has it, with its default if older rows have that, "
                "and start the applier again; or set replica.on_new_column to \"add\", "
                "or to \"ignore\" to leave such columns out");
      case OnNewColumn::kIgnore:
        ignored_[source].insert(names.begin(), names.end());
        break;
      case OnNewColumn::kAdd:
        add_columns(tx, table, names);
        break;
    }
  }
  std::erase_if(tables_, [&](const auto& entry) { return entry.second.get() == &table; });
}

void ReplicaTables::add_columns(pqxx::transaction_base& tx, const ReplicaTable& table,
                                const std::vector<std::string>& names) {
  const Name source{table.source_schema, table.source_name};
  const auto found = SourceCatalog(options_.source_conninfo).find(source.first, source.second);
  // A table whose rows still wait for deferred checks cannot be altered.
  tx.exec("SET CONSTRAINTS ALL IMMEDIATE");
  const bool has_rows = !tx.exec("SELECT 1 FROM " + full_name(table.target) + " LIMIT 1").empty();
  const auto columns =
      found ? replica_columns(*found, carried(source)) : std::vector<ReplicaColumn>{};
  for (const auto& name : names) {
    const auto by_hand = "ALTER TABLE " + full_name(table.target) + " ADD COLUMN " +
                         quoted_name(name) + " ... by hand, and start the applier again";
    const auto refuse = [&](const std::string& why) {
      throw Failure(ErrorKind::kReplicaTable,
                    "replica.on_new_column = \"add\": " + quoted_name(name) + " of the source's " +
                        quoted(source.first, source.second) + " " + why,
                    by_hand + "; or set replica.on_new_column = \"ignore\"");
    };
    if (!found) refuse("cannot be looked up: the source no longer has the table");
    const auto column = std::ranges::find(columns, name, &ReplicaColumn::name);
    if (column == columns.end()) refuse("is no longer there: it was renamed or dropped since");
    const SourceColumn& own = column->source;
    // A default that PostgreSQL has written into older rows came without events.
    if (own.has_default && !own.older_rows && has_rows)
      refuse("has a default, and what it is in older rows cannot be told");
    require_types(tx, {source.first, source.second, false, {own}, {}}, carried(source));
    const auto add = "ALTER TABLE " + full_name(table.target) + " ADD COLUMN " + quoted_name(name) +
                     " " + column->type;
    // It stays the default: rows of events before the column was there get it, too.
    define(tx,
           add + (own.older_rows ? " DEFAULT " + tx.quote(carried_value(tx, source, own)) : ""));
    altered_ = true;
    spdlog::info("replica: added column {} to {}", quoted_name(name), full_name(table.target));
  }
}

std::string ReplicaTables::carried_value(pqxx::transaction_base& tx, const Name& source,
                                         const SourceColumn& column) const {
  const auto rule = carried(source);
  const auto text = column.older_rows.value_or("");
  if (rule.hashes(column.name))
    return sql::exec(tx,
                     "SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to($1, "
                     "'UTF8')), 'hex')",
                     rule.hash_salt + text)[0][0]
        .as<std::string>();
  return rule.masks(column.name) ? "***" : text;
}

void ReplicaTables::forget() {
  tables_.clear();
  sources_.clear();
  altered_ = false;
}

}  // namespace postrider
