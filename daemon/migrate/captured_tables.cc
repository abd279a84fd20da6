#include "daemon/migrate/captured_tables.h"

#include <set>

namespace postrider {
namespace {

// Rows of a partitioned table are in its partitions: each needs an identity and the WAL of its own.
constexpr const char* kTables = R"(
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) AS name,
  CASE WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN pg_get_userbyid(c.relowner) END AS owner,
  parts.unlogged, parts.nameless,
  EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
          WHERE p.pubname = $1 AND r.prrelid = c.oid) AS published
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
LATERAL (
  SELECT min(format('%I.%I', s.nspname, p.relname)) FILTER (WHERE p.relpersistence = 'u') AS unlogged,
    min(format('%I.%I', s.nspname, p.relname)) FILTER (WHERE p.relreplident <> 'f' AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = p.oid AND p.relreplident <> 'n'
        AND CASE p.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)) AS nameless
  FROM (SELECT c.oid AS relid UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) AS t WHERE t.isleaf) AS l
  JOIN pg_catalog.pg_class p ON p.oid = l.relid JOIN pg_catalog.pg_namespace s ON s.oid = p.relnamespace
  WHERE p.relkind IN ('r', 'p')) AS parts
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'outbox', 'postrider')
  AND n.nspname !~ '^pg_toast'
ORDER BY 1, 2)";

// Of a partitioned table, the partition that spoils it is named.
std::string whose(const std::string& table, const std::string& part) {
  return part == table ? "" : "by its partition " + part + " ";
}

}  // namespace

std::vector<CapturableTable> find_capturable_tables(pqxx::transaction_base& tx,
                                                    const std::vector<CaptureRule>& rules,
                                                    const std::string& publication) {
  std::vector<CapturableTable> found;
  std::set<std::string> exact;
  for (const auto& rule : rules)
    for (const auto& pattern : rule.tables)
      if (pattern.find('*') == std::string::npos) exact.insert(pattern);
  for (const auto& row : sql::exec(tx, kTables, capture_publication(publication))) {
    const auto schema = row["nspname"].as<std::string>();
    const auto name = row["relname"].as<std::string>();
    const bool named = exact.erase(schema + "." + name) > 0;
    const CaptureRule* rule = find_rule(rules, schema, name);
    if (rule == nullptr) continue;
    CapturableTable table{row["name"].as<std::string>(),   rule, named,
                          row["published"].as<bool>(),     "",   "",
                          row["owner"].as<std::string>("")};
    if (!row["unlogged"].is_null()) {
      if (!named) continue;  // a pattern means what can be captured
      const auto part = row["unlogged"].as<std::string>();
      table.problem = whose(table.name, part) + "is unlogged: its changes are not in the WAL";
      table.remedy = "ALTER TABLE " + part + " SET LOGGED";
    } else if (!row["nameless"].is_null()) {
      const auto part = row["nameless"].as<std::string>();
      table.problem =
          whose(table.name, part) + "has no replica identity: its updates and deletes would fail";
      table.remedy = "add a primary key, or ALTER TABLE " + part + " REPLICA IDENTITY FULL";
    }
    found.push_back(std::move(table));
  }
  for (const auto& name : exact)
    found.push_back({name, nullptr, true, false, "is no table that can be captured",
                     "correct the name in [[capture]]; partitions are captured by their root, and "
                     "views, foreign and temporary tables not at all"});
  return found;
}

}  // namespace postrider
