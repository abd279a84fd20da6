#include "daemon/migrate/captured_tables.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "daemon/migrate/row_filter.h"

namespace postrider {
namespace {

// Rows of a partitioned table are in its partitions: each needs an identity and the WAL of its own.
// Generated columns are not published: PostgreSQL 18 refuses updates and deletes where one of them
// is in the identity, older versions do so nowhere, but leave it out of the key. OFFSET 0:
// PostgreSQL takes a table for one with a thousand partitions, and would read all of pg_class for
// each.
//
// Updates and deletes are logged by the partition's identity and described by the root's, which
// ALTER TABLE does not hand on: where they differ, the old row lacks what its description promises.
std::string tables_query() {
  const auto identity_of = [](const std::string& relation) {
    return "CASE " + relation +
           ".relreplident WHEN 'f' THEN '*' ELSE (SELECT string_agg(a.attname, ',' ORDER BY "
           "a.attname) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = "
           "i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) WHERE "
           "i.indrelid = " +
           relation + ".oid AND CASE " + relation +
           ".relreplident WHEN 'n' THEN false WHEN 'i' THEN i.indisreplident ELSE i.indisprimary "
           "END) END";
  };
  return R"(
SELECT c.oid, n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) AS name,
  CASE WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN pg_get_userbyid(c.relowner) END AS owner,
  c.relkind = 'p' AS partitioned, parts.unlogged, parts.nameless, parts.generated, parts.other,
  (SELECT json_agg(a.attname) FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
          WHERE p.pubname = $1 AND r.prrelid = c.oid) AS published
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
LATERAL (
  SELECT min(format('%I.%I', s.nspname, p.relname)) FILTER (WHERE p.relpersistence = 'u') AS unlogged,
    min(format('%I.%I', s.nspname, p.relname)) FILTER (WHERE p.relreplident <> 'f' AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = p.oid AND p.relreplident <> 'n'
        AND CASE p.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)) AS nameless,
    min(format('%I.%I', s.nspname, p.relname)) FILTER (WHERE EXISTS (
      SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = p.oid AND a.attgenerated <> '' AND NOT a.attisdropped
        AND CASE p.relreplident WHEN 'n' THEN false
            WHEN 'f' THEN current_setting('server_version_num')::int >= 180000
            ELSE EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = p.oid
              AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
              AND CASE p.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END) END)) AS generated,
    min(format('%I.%I', s.nspname, p.relname)) FILTER (WHERE )" +
         identity_of("p") + " IS DISTINCT FROM " + identity_of("c") + R"() AS other
  FROM (SELECT c.oid AS relid UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) AS t WHERE t.isleaf) AS l
  CROSS JOIN LATERAL (SELECT k.* FROM pg_catalog.pg_class k WHERE k.oid = l.relid OFFSET 0) AS p
  JOIN pg_catalog.pg_namespace s ON s.oid = p.relnamespace
  WHERE p.relkind IN ('r', 'p')) AS parts
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'outbox', 'postrider')
  AND n.nspname !~ '^pg_toast'
ORDER BY 2, 3)";
}

constexpr const char* kPublished = R"(
SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1 ORDER BY 3)";

// Of a partitioned table, the partition that spoils it is named.
std::string whose(const std::string& table, const std::string& part) {
  return part == table ? "" : "by its partition " + part + " ";
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

// A new name that a column of the table has already; empty: none.
std::string taken_name(const CaptureRule& rule, const std::vector<std::string>& columns) {
  for (const auto& [from, to] : rule.rename)
    if (contains(columns, from) && contains(columns, to) && carries_column(rule, to) &&
        !rule.rename.contains(to))
      return to;
  return "";
}

// Those that the rule names, {column:NAME} in its subject too.
std::set<std::string> named_columns(const CaptureRule& rule) {
  constexpr std::string_view kPlaceholder = "{column:";
  std::set<std::string> names;
  for (const auto* list : {&rule.columns, &rule.exclude, &rule.mask, &rule.hash})
    names.insert(list->begin(), list->end());
  for (const auto& [from, to] : rule.rename) names.insert(from);
  std::string subjects = rule.subject;
  for (const auto& [value, subject] : rule.subject_values) subjects += subject;
  for (auto at = subjects.find(kPlaceholder); at != std::string::npos;
       at = subjects.find(kPlaceholder, at + 1)) {
    const auto begin = at + kPlaceholder.size();
    names.insert(subjects.substr(begin, subjects.find('}', at) - begin));
  }
  if (!rule.subject_column.empty()) names.insert(rule.subject_column);
  return names;
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
  for (const auto& row : sql::exec(tx, tables_query(), capture_publication(publication))) {
    const auto schema = row["nspname"].as<std::string>();
    const auto name = row["relname"].as<std::string>();
    const bool named = exact.erase(schema + "." + name) > 0;
    const CaptureRule* rule = find_rule(rules, schema, name);
    if (rule == nullptr) continue;
    CapturableTable table;
    table.name = row["name"].as<std::string>();
    table.rule = rule;
    table.named = named;
    table.published = row["published"].as<bool>();
    table.partitioned = row["partitioned"].as<bool>();
    table.owner = row["owner"].as<std::string>("");
    nlohmann::json::parse(row["columns"].as<std::string>("[]")).get_to(table.columns);
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
    } else if (!row["generated"].is_null()) {
      const auto part = row["generated"].as<std::string>();
      table.problem = whose(table.name, part) +
                      "has a generated column in its replica identity, which is not published: its "
                      "updates and deletes would fail, or name no row";
      table.remedy = "ALTER TABLE " + part +
                     " REPLICA IDENTITY USING INDEX of ordinary columns, or DEFAULT where the "
                     "primary key is of such";
    }
    if (const auto taken = taken_name(*rule, table.columns);
        table.problem.empty() && !taken.empty()) {
      table.problem = "has a column " + taken + ", which capture.rename gives to another";
      table.remedy = "choose another name, or rename or exclude that column, too";
    }
    if (table.problem.empty())
      if (const auto lost = column_lost_to_filter(tx, *rule, row["oid"].as<std::int64_t>())) {
        table.problem = whose(table.name, lost->table) + "may hold large values in column " +
                        lost->column +
                        ": an update that brings a row into capture.where would lose them";
        table.remedy = "ALTER TABLE " + lost->table +
                       " REPLICA IDENTITY FULL (of a partitioned table: each partition, too), or "
                       "take where, or the column, out of [[capture]]";
      }
    if (table.problem.empty() && !row["other"].is_null()) {
      const auto part = row["other"].as<std::string>();
      table.problem = whose(table.name, part) +
                      "has another replica identity than the root: updates and deletes would be "
                      "told with values missing";
      table.remedy = "ALTER TABLE ... REPLICA IDENTITY alike for " + table.name +
                     " and each of its partitions; it is not handed on to them";
    }
    found.push_back(std::move(table));
  }
  for (const auto& name : exact)
    found.push_back({name, nullptr, true, false, "is no table that can be captured",
                     "correct the name in [[capture]]; partitions are captured by their root, and "
                     "views, foreign and temporary tables not at all"});
  return found;
}

std::vector<std::string> published_without_rule(pqxx::transaction_base& tx,
                                                const std::vector<CaptureRule>& rules,
                                                const std::string& publication) {
  std::vector<std::string> names;
  for (const auto& row : sql::exec(tx, kPublished, capture_publication(publication)))
    if (find_rule(rules, row[0].as<std::string>(), row[1].as<std::string>()) == nullptr)
      names.push_back(row[2].as<std::string>());
  return names;
}

std::vector<std::string> unknown_columns(const CaptureRule& rule,
                                         const std::vector<CapturableTable>& tables) {
  std::vector<std::string> unknown;
  const auto is_its = [&](const CapturableTable& table) { return table.rule == &rule; };
  if (std::ranges::none_of(tables, is_its)) return unknown;
  for (const auto& name : named_columns(rule))
    if (std::ranges::none_of(tables, [&](const CapturableTable& table) {
          return is_its(table) && contains(table.columns, name);
        }))
      unknown.push_back(name);
  return unknown;
}

}  // namespace postrider
