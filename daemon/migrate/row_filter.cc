#include "daemon/migrate/row_filter.h"

namespace postrider {
namespace {

// Columns of INCLUDE stand behind the key's in indkey, and are not in the identity.
constexpr const char* kBeyondIdentity = R"(
SELECT format('%I.%I', n.nspname, t.relname), a.attname
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class t ON t.oid = r.prrelid JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_depend d ON d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid
  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = r.prrelid AND d.refobjsubid > 0
JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = d.refobjsubid
JOIN LATERAL (SELECT r.prrelid AS oid UNION SELECT relid FROM pg_partition_tree(r.prrelid)) AS part ON true
JOIN pg_class c ON c.oid = part.oid AND c.relkind = 'r'
WHERE p.pubname = $1 AND c.relreplident <> 'f' AND NOT EXISTS (
  SELECT FROM pg_index i JOIN pg_attribute k
    ON k.attrelid = c.oid AND k.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
  WHERE i.indrelid = c.oid AND k.attname = a.attname
    AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)
ORDER BY 1, 2 LIMIT 1)";

// Whatever its storage says now: SET STORAGE PLAIN leaves stored values where they are. Key columns
// are in the old row.
constexpr const char* kLargeColumns = R"(
SELECT format('%I.%I', n.nspname, c.relname), a.attname
FROM (SELECT $1::oid AS oid UNION SELECT relid FROM pg_catalog.pg_partition_tree($1::oid)) AS part
JOIN pg_catalog.pg_class c ON c.oid = part.oid AND c.relkind = 'r' AND c.reltoastrelid <> 0
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen = -1
WHERE c.relreplident <> 'f' AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_index i
  WHERE i.indrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
    AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)
ORDER BY 1, a.attnum)";

}  // namespace

std::optional<FilteredColumn> column_beyond_identity(pqxx::transaction_base& tx,
                                                     const std::string& publication) {
  const auto rows = sql::exec(tx, kBeyondIdentity, publication);
  if (rows.empty()) return std::nullopt;
  return FilteredColumn{rows[0][0].as<std::string>(), rows[0][1].as<std::string>()};
}

std::optional<FilteredColumn> column_lost_to_filter(pqxx::transaction_base& tx,
                                                    const CaptureRule& rule,
                                                    std::int64_t table_oid) {
  if (rule.where.empty()) return std::nullopt;
  for (const auto& row : sql::exec(tx, kLargeColumns, table_oid))
    if (auto column = row[1].as<std::string>(); carries_column(rule, column))
      return FilteredColumn{row[0].as<std::string>(), std::move(column)};
  return std::nullopt;
}

}  // namespace postrider
