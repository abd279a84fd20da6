#include "readmodel/postgres/source_catalog.h"

#include <algorithm>

#include "base/error.h"
#include "base/postgres/conninfo.h"
#include "readmodel/replica/statements.h"

namespace postrider {
namespace {

using replica::quoted_name;

constexpr const char* kTables = R"(
SELECT n.nspname, c.relname, c.relkind = 'p' AS partitioned, a.attname,
  format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, a.attgenerated <> '' AS generated,
  a.atthasdef AND a.attgenerated = '' AS has_default,
  CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END AS older_rows,
  coalesce(array_position(i.indkey::int2[], a.attnum), -1) AS key_position
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN LATERAL (SELECT (x.indkey::int2[])[0:x.indnkeyatts - 1] AS indkey FROM pg_index x
  WHERE x.indrelid = c.oid AND x.indisvalid
    AND CASE c.relreplident WHEN 'i' THEN x.indisreplident ELSE x.indisprimary END) i ON true
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'outbox', 'postrider')
  AND n.nspname !~ '^pg_toast' )";

template <class Body>
auto on_source(Body body) {
  try {
    return body();
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable,
                  std::string("source, for the definition of a table: ") + e.what());
  }
}

}  // namespace

SourceCatalog::SourceCatalog(const std::string& conninfo) {
  on_source([&] {
    connection_ = std::make_unique<pqxx::connection>(with_defaults(conninfo, liveness_defaults()));
    sql::forbid_reconnecting(*connection_);
    pqxx::nontransaction tx(*connection_);
    // So that types of PostgreSQL's own are named without a schema, and all others with it.
    tx.exec(
        "SET search_path = pg_catalog; SET client_encoding = 'UTF8'; "
        "SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; "
        "SET lc_monetary = 'C'; SET extra_float_digits = 3; SET bytea_output = 'hex'");
  });
}

SourceCatalog::~SourceCatalog() = default;

std::vector<SourceTable> SourceCatalog::read(const std::string& condition,
                                             const std::string& schema, const std::string& table) {
  return on_source([&] {
    pqxx::read_transaction tx(*connection_);
    const std::string order = " ORDER BY n.nspname, c.relname, a.attnum";
    const auto rows = condition.empty() ? tx.exec(kTables + order)
                                        : sql::exec(tx, kTables + condition + order, schema, table);
    std::vector<SourceTable> tables;
    std::vector<std::pair<int, std::string>> key;
    const auto finish = [&] {
      if (tables.empty()) return;
      std::ranges::sort(key);
      for (auto& [position, name] : key) tables.back().key.push_back(std::move(name));
      key.clear();
    };
    for (const auto& row : rows) {
      const auto in = row["nspname"].as<std::string>();
      const auto name = row["relname"].as<std::string>();
      if (tables.empty() || tables.back().schema != in || tables.back().name != name) {
        finish();
        tables.push_back({in, name, row["partitioned"].as<bool>(), {}, {}});
      }
      SourceColumn column;
      column.name = row["attname"].as<std::string>();
      column.type = row["type"].as<std::string>();
      column.not_null = row["attnotnull"].as<bool>();
      column.generated = row["generated"].as<bool>();
      column.has_default = row["has_default"].as<bool>();
      if (!row["older_rows"].is_null()) column.older_rows = row["older_rows"].as<std::string>();
      if (const int at = row["key_position"].as<int>(); at >= 0) key.emplace_back(at, column.name);
      tables.back().columns.push_back(std::move(column));
    }
    finish();
    return tables;
  });
}

std::optional<SourceTable> SourceCatalog::find(const std::string& schema,
                                               const std::string& table) {
  auto tables = read(" AND n.nspname = $1 AND c.relname = $2", schema, table);
  if (tables.empty()) return std::nullopt;
  return std::move(tables.front());
}

std::vector<SourceTable> SourceCatalog::all() {
  return read("", "", "");
}

std::vector<ReplicaColumn> replica_columns(const SourceTable& table,
                                           const replica::Carried& carried) {
  std::vector<SourceColumn> sent;
  std::vector<std::string> names;
  for (const auto& column : table.columns) {
    if (column.generated) continue;
    sent.push_back(column);
    names.push_back(column.name);
  }
  std::vector<ReplicaColumn> columns;
  for (const auto& [index, name] : replica::carried_columns(carried, names)) {
    const bool is_text = carried.masks(names[index]) || carried.hashes(names[index]);
    columns.push_back({sent[index], name, is_text ? "text" : sent[index].type});
  }
  return columns;
}

std::string create_table(const SourceTable& table, const std::string& schema,
                         const replica::Carried& carried) {
  const auto carried_ones = replica_columns(table, carried);
  std::string columns;
  for (const auto& column : carried_ones)
    columns += (columns.empty() ? "\n  " : ",\n  ") + quoted_name(column.name) + " " + column.type +
               (column.source.not_null ? " NOT NULL" : "");
  // A key of hashes is one, as long as its values differ; one that is masked or left out in part is
  // none.
  std::string key;
  bool has_key = !table.key.empty();
  for (const auto& own : table.key) {
    const auto column = std::ranges::find(
        carried_ones, own, [](const auto& c) -> const auto& { return c.source.name; });
    has_key = has_key && column != carried_ones.end() && !carried.masks(own);
    if (has_key) key += (key.empty() ? "" : ", ") + quoted_name(column->name);
  }
  if (has_key) columns += ",\n  PRIMARY KEY (" + key + ")";
  return "CREATE TABLE " + quoted_name(schema) + "." + quoted_name(table.name) + " (" + columns +
         "\n)";
}

void require_types(pqxx::transaction_base& target, const SourceTable& table,
                   const replica::Carried& carried) {
  std::string missing;
  for (const auto& column : replica_columns(table, carried)) {
    if (sql::exec(target, "SELECT to_regtype($1) IS NULL", column.type)[0][0].as<bool>() &&
        missing.find(column.type) == std::string::npos)
      missing += (missing.empty() ? "" : ", ") + column.type;
  }
  if (missing.empty()) return;
  throw Failure(ErrorKind::kReplicaTable,
                "the target database lacks types of the source's table " +
                    quoted_name(table.schema) + "." + quoted_name(table.name) + ": " + missing,
                "make these enums, domains, composites or extensions there as the source has them "
                "(`pg_dump --schema-only` shows how), and start again");
}

void define(pqxx::transaction_base& tx, const std::string& statement) {
  try {
    tx.exec(statement);
  } catch (const pqxx::sql_error& e) {
    const auto state = sql::sqlstate(e);
    if (state.starts_with("42") || state.starts_with("3F") || state.starts_with("22"))
      throw Failure(state == "42501" ? ErrorKind::kNoPermission : ErrorKind::kReplicaTable,
                    statement + ": " + e.what(),
                    "the applier's role must own the table, or hold CREATE on its schema; or do "
                    "it by hand, and start again");
    throw;
  }
}

}  // namespace postrider
