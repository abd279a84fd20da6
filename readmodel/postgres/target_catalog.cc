#include "readmodel/postgres/target_catalog.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "readmodel/replica/statements.h"

namespace postrider {
namespace {

using replica::TargetTable;

// Foreign keys: c cascade, n set null, d set default.
constexpr const char* kTable = R"(
SELECT c.oid::bigint AS oid, c.relkind IN ('r', 'p') AS is_table, c.relkind = 'p' AS partitioned,
  EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type IN ('2', '3')) AS has_rules,
  EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid) AS referenced,
  EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid
          AND f.confdeltype IN ('c', 'n', 'd')) AS deletes_act
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))";

constexpr const char* kParents = R"(
SELECT DISTINCT f.confrelid::bigint FROM pg_catalog.pg_constraint f
WHERE f.contype = 'f' AND f.conrelid = $1::bigint::oid AND f.confrelid <> f.conrelid)";

constexpr const char* kColumns = R"(
SELECT a.attnum, a.attname, pg_catalog.format_type(a.atttypid, -1) AS type,
  a.atttypid IN ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype) AS is_json,
  a.attgenerated <> '' AS generated, a.attidentity = 'a' AS always,
  a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS required
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)";

// Of the index of REPLICA IDENTITY USING INDEX, else of the primary key, as at the source; with the
// operator by which the index finds a value equal (strategy 3 of a B-tree).
constexpr const char* kKey = R"(
SELECT k.indimmediate, k.indkey[g] AS attnum, pg_catalog.quote_ident(n.nspname) AS operator_schema, o.oprname
FROM (SELECT i.* FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
      WHERE t.oid = $1::bigint::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
        AND CASE t.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END) k
CROSS JOIN pg_catalog.generate_series(0, k.indnkeyatts - 1) g
JOIN pg_catalog.pg_opclass c ON c.oid = k.indclass[g]
JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
  AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
ORDER BY g)";

[[noreturn]] void refuse(const TargetTable& table, const std::string& what,
                         const std::string& remedy) {
  throw Failure(ErrorKind::kReplicaTable, replica::full_name(table) + " " + what, remedy);
}

}  // namespace

std::optional<TargetTable> find_target_table(pqxx::transaction_base& tx, const std::string& schema,
                                             const std::string& name) {
  const auto found = sql::exec(tx, kTable, schema, name);
  if (found.empty()) return std::nullopt;
  TargetTable table;
  const auto oid = found[0]["oid"].as<std::int64_t>();
  table.oid = static_cast<std::uint32_t>(oid);
  table.schema = schema;
  table.name = name;
  if (!found[0]["is_table"].as<bool>())
    refuse(table, "is a view or a foreign table", "a replica needs a table: rename one of them");
  table.partitioned = found[0]["partitioned"].as<bool>();
  table.has_rules = found[0]["has_rules"].as<bool>();
  table.referenced = found[0]["referenced"].as<bool>();
  table.deletes_act = found[0]["deletes_act"].as<bool>();
  for (const auto& row : sql::exec(tx, kParents, oid))
    table.parents.push_back(static_cast<std::uint32_t>(row[0].as<std::int64_t>()));

  std::unordered_map<int, std::size_t> by_number;
  std::vector<std::size_t> always;
  for (const auto& row : sql::exec(tx, kColumns, oid)) {
    by_number[row["attnum"].as<int>()] = table.columns.size();
    if (row["always"].as<bool>()) always.push_back(table.columns.size());
    table.columns.push_back({row["attname"].as<std::string>(), row["type"].as<std::string>(),
                             row["is_json"].as<bool>(), row["generated"].as<bool>(),
                             row["required"].as<bool>()});
  }
  for (const auto& row : sql::exec(tx, kKey, oid)) {
    if (!row["indimmediate"].as<bool>())
      refuse(table, "has a deferrable primary key, which INSERT ... ON CONFLICT cannot use",
             "make it NOT DEFERRABLE");
    table.key.push_back({by_number.at(row["attnum"].as<int>()),
                         "OPERATOR(" + row["operator_schema"].as<std::string>() + "." +
                             row["oprname"].as<std::string>() + ")"});
  }
  for (const std::size_t column : always)
    if (std::ranges::find(table.key, column, &replica::KeyColumn::column) == table.key.end())
      refuse(table,
             "has column \"" + table.columns[column].name +
                 "\" GENERATED ALWAYS AS IDENTITY, which no update may set",
             "ALTER TABLE " + replica::full_name(table) + " ALTER COLUMN " +
                 replica::quoted_name(table.columns[column].name) + " DROP IDENTITY");
  return table;
}

}  // namespace postrider
