#include "daemon/migrate/captured_tables.h"

#include <set>

namespace postrider {
namespace {

constexpr const char* kTables = R"(
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) AS name, c.relpersistence,
  CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false
    WHEN 'i' THEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)
    ELSE EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) END AS identity,
  EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
          WHERE p.pubname = $1 AND r.prrelid = c.oid) AS published
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'outbox', 'postrider')
  AND n.nspname !~ '^pg_toast'
ORDER BY 1, 2)";

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
    CapturableTable table{row["name"].as<std::string>(), rule, named,
                          row["published"].as<bool>(),   "",   ""};
    if (row["relpersistence"].as<std::string>() == "u") {
      if (!named) continue;  // a pattern means what can be captured
      table.problem = "is unlogged: its changes are not in the WAL";
      table.remedy = "ALTER TABLE " + table.name + " SET LOGGED";
    } else if (!row["identity"].as<bool>()) {
      table.problem = "has no replica identity: its updates and deletes would fail";
      table.remedy = "add a primary key, or ALTER TABLE " + table.name + " REPLICA IDENTITY FULL";
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
