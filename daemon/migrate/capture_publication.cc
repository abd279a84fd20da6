#include "daemon/migrate/capture_publication.h"

#include <algorithm>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "daemon/migrate/captured_tables.h"
#include "daemon/migrate/row_filter.h"

namespace postrider {
namespace {

constexpr const char* kShape =
    "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
// Before PostgreSQL 18 the option does not exist.
constexpr int kGeneratedSince = 180000;
constexpr const char* kNoGenerated = ", publish_generated_columns = none";

// What the transaction has made of the publication is not what the checkpoint row vouches for.
constexpr const char* kDiffers =
    "SELECT outbox.capture_problem(source) IS NOT NULL "
    "OR captured <> outbox.published_tables(publication || '_capture') "
    "FROM outbox.checkpoint WHERE source = $1";

[[noreturn]] void refuse_alteration(const pqxx::sql_error& error,
                                    const std::vector<CapturableTable>& tables) {
  const std::string state = sql::sqlstate(error);
  if (state == "42501") {
    std::string foreign;
    for (const auto& table : tables)
      if (!table.owner.empty())
        foreign += (foreign.empty() ? "" : ", ") + table.name + " of " + table.owner;
    throw Failure(ErrorKind::kNoPermission, error.what(),
                  foreign.empty()
                      ? "migrate as the role that owns the capture publication"
                      : "who publishes a table must own it: GRANT its owner to the role of "
                        "migrate.conninfo (WITH INHERIT TRUE), or migrate as superuser: " +
                            foreign);
  }
  // Of what this statement holds, the filters alone are the operator's own words.
  for (const char* kind : {"42", "0A", "22", "2B"})
    if (state.starts_with(kind))
      throw Failure(ErrorKind::kConfiguration, error.what(),
                    "correct capture.where: PostgreSQL takes simple conditions over the row's own "
                    "columns, without functions of users");
  throw error;
}

void require_shape(pqxx::work& tx, const std::string& name, std::vector<std::string>& lines) {
  const auto good =
      sql::exec(tx,
                "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot "
                "AND coalesce(to_jsonb(p)->>'pubgencols', 'n') = 'n' "
                "FROM pg_publication p WHERE pubname = $1",
                name)[0][0];
  if (good.as<bool>()) return;
  const bool has_option = tx.conn().server_version() >= kGeneratedSince;
  tx.exec("ALTER PUBLICATION " + tx.quote_name(name) + " SET (" + kShape +
          (has_option ? kNoGenerated : "") + ")");
  lines.push_back("restored  publication " + name + ": every change, by root table" +
                  (has_option ? ", no generated columns" : ""));
}

struct Published {
  std::string name;
  bool filtered = false;
};
std::vector<Published> published(pqxx::work& tx, const std::string& name) {
  std::vector<Published> tables;
  for (const auto& row : sql::exec(
           tx,
           "SELECT format('%I.%I', n.nspname, c.relname), r.prqual IS NOT NULL "
           "FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid "
           "JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
           "WHERE p.pubname = $1 ORDER BY 1",
           name))
    tables.push_back({row[0].as<std::string>(), row[1].as<bool>()});
  return tables;
}

void require_columns(const std::vector<CaptureRule>& rules,
                     const std::vector<CapturableTable>& tables) {
  for (const auto& rule : rules)
    if (const auto unknown = unknown_columns(rule, tables); !unknown.empty())
      throw Failure(ErrorKind::kConfiguration,
                    "the rule for " + rule.tables.front() + " names column " + unknown.front() +
                        ", which none of its tables has",
                    "correct the name: a column that is to be hashed, masked or excluded would be "
                    "carried as it is");
}

// PostgreSQL leaves the entry of a table as it is where SET TABLE names it with the same filter.
void set_tables(pqxx::work& tx, const std::string& name, const std::vector<CapturableTable>& tables,
                std::vector<std::string>& lines) {
  bool needed = false;
  std::set<std::string> wanted;
  std::string clause;
  for (const auto& table : tables) {
    if (!table.problem.empty())
      throw Failure(ErrorKind::kConfiguration, "captured table " + table.name + " " + table.problem,
                    table.remedy);
    wanted.insert(table.name);
    if (!table.published) lines.push_back("captured  table " + table.name);
    needed = needed || !table.published || !table.rule->where.empty();
    clause += (clause.empty() ? "" : ", ") + table.name +
              (table.rule->where.empty() ? "" : " WHERE (" + table.rule->where + ")");
  }
  std::vector<std::string> statements;
  for (const auto& table : published(tx, name)) {
    needed = needed || table.filtered;
    if (wanted.contains(table.name)) continue;
    lines.push_back("released  table " + table.name);
    // SET TABLE wants one table at least.
    statements.push_back("ALTER PUBLICATION " + tx.quote_name(name) + " DROP TABLE " + table.name);
  }
  if (needed && !clause.empty())
    statements.push_back("ALTER PUBLICATION " + tx.quote_name(name) + " SET TABLE " + clause);
  try {
    for (const auto& statement : statements) tx.exec(statement);
  } catch (const pqxx::sql_error& error) {
    refuse_alteration(error, tables);
  }
  if (const auto beyond = column_beyond_identity(tx, name))
    throw Failure(ErrorKind::kConfiguration,
                  "capture.where reads column " + beyond->column + " of " + beyond->table +
                      ", which is not in its replica identity: updates and deletes would fail",
                  "filter by the key's columns, or ALTER TABLE " + beyond->table +
                      " REPLICA IDENTITY FULL (of a partitioned table: each partition, too)");
}

}  // namespace

void make_capture_publication(pqxx::connection& owner, const MigrateOptions& options,
                              std::ostream& out) {
  const std::string name = capture_publication(options.publication);
  pqxx::work tx(owner);
  if (!sql::exec(tx, "SELECT 1 FROM pg_publication WHERE pubname = $1", name).empty()) return;
  tx.exec("CREATE PUBLICATION " + tx.quote_name(name) + " WITH (" + kShape + ")");
  tx.commit();
  out << "created   publication " << name << '\n';
}

void publish_captured_tables(pqxx::connection& owner, const MigrateOptions& options,
                             std::ostream& out) {
  const std::string name = capture_publication(options.publication);
  pqxx::work tx(owner);
  std::vector<std::string> lines;
  const auto before = sql::exec(tx,
                                "SELECT outbox.capture_problem(source), capture_version IS NULL "
                                "AND captured = '{}' FROM outbox.checkpoint WHERE source = $1",
                                options.source)[0];
  if (!before[0].is_null() && !before[1].as<bool>())
    lines.push_back("note      the capture publication " + before[0].as<std::string>() +
                    ": changes made meanwhile are not in the stream");
  require_shape(tx, name, lines);
  const auto rules = published_rules(options.outboxes, options.captures);
  const auto tables = find_capturable_tables(tx, rules, options.publication);
  require_columns(rules, tables);
  set_tables(tx, name, tables, lines);
  if (!sql::exec(tx, kDiffers, options.source)[0][0].as<bool>()) return;  // rolled back
  sql::exec(tx, "SELECT outbox.accept_capture($1)", options.source);
  tx.commit();
  for (const auto& line : lines) out << line << '\n';
}

bool print_capture_publication(pqxx::transaction_base& tx, const MigrateOptions& options,
                               std::ostream& out) {
  const std::string name = capture_publication(options.publication);
  const auto tables = sql::exec(tx,
                                "SELECT (SELECT count(*) FROM pg_publication_rel r WHERE "
                                "r.prpubid = p.oid) FROM pg_publication p WHERE p.pubname = $1",
                                name);
  if (tables.empty()) {
    out << "MISSING   publication " << name << '\n';
    return false;
  }
  std::optional<std::string> problem;
  // The function is there from migration 7 on.
  if (!tx.exec("SELECT to_regprocedure('outbox.capture_problem(text)')")[0][0].is_null()) {
    const auto rows = sql::exec(
        tx, "SELECT outbox.capture_problem(source) FROM outbox.checkpoint WHERE source = $1",
        options.source);
    if (!rows.empty() && !rows[0][0].is_null()) problem = rows[0][0].as<std::string>();
  }
  out << (problem ? "ALTERED   " : "present   ") << "publication " << name << ": "
      << (problem ? *problem : tables[0][0].as<std::string>() + " captured tables") << '\n';
  return !problem;
}

}  // namespace postrider
