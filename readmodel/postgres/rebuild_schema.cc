#include "readmodel/postgres/rebuild_schema.h"

#include <spdlog/spdlog.h>

#include <optional>

#include "base/error.h"
#include "readmodel/postgres/setup.h"
#include "readmodel/postgres/target.h"
#include "readmodel/postgres/translate.h"

namespace postrider {
namespace {

// Everything outside a schema that depends on something in it.
constexpr const char* kDependents = R"(
WITH ns AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1),
inside AS (
  SELECT 'pg_class'::regclass AS class, c.oid FROM pg_catalog.pg_class c JOIN ns ON relnamespace = ns.oid
  UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_catalog.pg_type t JOIN ns ON typnamespace = ns.oid
  UNION ALL SELECT 'pg_proc'::regclass, p.oid FROM pg_catalog.pg_proc p JOIN ns ON pronamespace = ns.oid),
dependents AS (
  SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
  JOIN inside i ON d.refclassid = i.class AND d.refobjid = i.oid),
named AS (
  SELECT 'view ' || c.oid::regclass AS what, c.relnamespace AS ns FROM dependents d
    JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
  UNION SELECT 'constraint ' || k.conname || ' of ' || c.oid::regclass, c.relnamespace FROM dependents d
    JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  UNION SELECT 'a default of ' || c.oid::regclass, c.relnamespace FROM dependents d
    JOIN pg_catalog.pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
    JOIN pg_catalog.pg_class c ON c.oid = a.adrelid
  UNION SELECT 'trigger ' || t.tgname || ' of ' || c.oid::regclass, c.relnamespace FROM dependents d
    JOIN pg_catalog.pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  UNION SELECT 'policy ' || p.polname || ' of ' || c.oid::regclass, c.relnamespace FROM dependents d
    JOIN pg_catalog.pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
  UNION SELECT 'function ' || p.oid::regprocedure, p.pronamespace FROM dependents d
    JOIN pg_catalog.pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  UNION SELECT 'table ' || c.oid::regclass, c.relnamespace FROM dependents d
    JOIN pg_catalog.pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    AND c.relkind NOT IN ('i', 'I', 't')
  -- In no schema. The new tables would not be in it, and its subscribers would hear nothing more.
  UNION SELECT 'publication ' || quote_ident(p.pubname), 0::oid FROM inside i
    JOIN pg_catalog.pg_publication_rel r ON i.class = 'pg_class'::regclass AND r.prrelid = i.oid
    JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
  UNION SELECT 'publication ' || quote_ident(p.pubname), 0::oid FROM ns
    JOIN pg_catalog.pg_publication_namespace s ON s.pnnspid = ns.oid
    JOIN pg_catalog.pg_publication p ON p.oid = s.pnpubid)
SELECT string_agg(what, ', ' ORDER BY what) FROM named WHERE ns <> (SELECT oid FROM ns)
  AND ns <> 'pg_toast'::regnamespace)";

// The comment of a schema, or nothing when it does not exist: one look, since another process may
// drop it at any moment.
std::optional<std::string> comment_of(pqxx::transaction_base& tx, const std::string& schema) {
  const auto rows = sql::exec(tx,
                              "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') "
                              "FROM pg_catalog.pg_namespace WHERE nspname = $1",
                              schema);
  if (rows.empty()) return std::nullopt;
  return rows[0][0].as<std::string>();
}

// What the comment of a schema under construction says: by which file it was made.
std::string mark_of(pqxx::transaction_base& tx, const ReadModelOptions& live) {
  return "postrider: rebuild of read model " + live.name + ", setup " +
         sql::exec(tx, "SELECT md5($1)", live.setup_sql)[0][0].as<std::string>();
}

[[noreturn]] void refuse_strange_schema(const std::string& schema) {
  throw Failure(ErrorKind::kConfiguration,
                "schema \"" + schema + "\" exists and is no rebuild's: its name is needed",
                "rename or drop it: Postrider keeps the names SCHEMA__rebuild and SCHEMA__old");
}

bool is_ours(const std::string& comment) {
  return comment.starts_with("postrider: ");
}

}  // namespace

ReadModelOptions rebuild_options(const ReadModelOptions& live) {
  ReadModelOptions options = live;
  options.name += "/rebuild";
  options.schema += "__rebuild";
  options.until_caught_up = true;
  return options;
}

std::int64_t generation_of(pqxx::connection& connection, const std::string& live) {
  return translated([&] {
    pqxx::work tx(connection);
    const auto rows =
        sql::exec(tx, "SELECT generation FROM postrider.cursor WHERE readmodel = $1", live);
    if (rows.empty())
      throw Failure(ErrorKind::kConfiguration,
                    "read model " + live + " was never applied: there is nothing to build anew",
                    "start `postrider apply`: it begins at the stream's start");
    return rows[0][0].as<std::int64_t>();
  });
}

void require_swappable(pqxx::connection& connection, const ReadModelOptions& live) {
  translated([&] {
    pqxx::work tx(connection);
    if (!tx.exec("SELECT has_database_privilege(current_database(), 'CREATE')")[0][0].as<bool>())
      throw Failure(ErrorKind::kNoPermission, "the applier's role may not make schemas",
                    "GRANT CREATE ON DATABASE ... TO the applier's role");
    const std::string old = live.schema + "__old";
    if (const auto comment = comment_of(tx, old)) {
      if (!is_ours(*comment)) refuse_strange_schema(old);
      require_independent(tx, old);
    }
    const auto owned = sql::exec(tx,
                                 "SELECT pg_has_role(nspowner, 'USAGE') "
                                 "FROM pg_catalog.pg_namespace WHERE nspname = $1",
                                 live.schema);
    if (owned.empty()) return;  // the tables are gone: the new ones take their place
    if (!owned[0][0].as<bool>())
      throw Failure(ErrorKind::kNoPermission,
                    "schema \"" + live.schema + "\" does not belong to the applier's role",
                    "ALTER SCHEMA " + live.schema + " OWNER TO the applier's role");
    require_independent(tx, live.schema);
  });
}

void require_independent(pqxx::transaction_base& tx, const std::string& schema) {
  const auto dependents = sql::exec(tx, kDependents, schema)[0][0];
  if (!dependents.is_null())
    throw Failure(
        ErrorKind::kConfiguration,
        "outside of schema \"" + schema + "\" these depend on it: " + dependents.as<std::string>(),
        "make them in the setup file, or drop them and make them again afterwards");
}

std::string tables_in(pqxx::transaction_base& tx, const std::string& schema) {
  std::string tables;
  for (const auto& row :
       sql::exec(tx,
                 "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN "
                 "pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                 "WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY 1",
                 schema))
    tables += (tables.empty() ? "" : ", ") + row[0].as<std::string>();
  return tables;
}

bool try_lock_tables(pqxx::transaction_base& tx, const std::string& tables) {
  if (tables.empty()) return true;
  try {
    tx.exec("SET LOCAL lock_timeout = '200ms'");
    tx.exec("LOCK TABLE " + tables + " IN ACCESS EXCLUSIVE MODE");
    return true;
  } catch (const pqxx::sql_error& e) {
    if (sql::sqlstate(e) != "55P03") throw;
    return false;
  }
}

Begun begin_rebuild(pqxx::connection& connection, const ReadModelOptions& live) {
  const ReadModelOptions anew = rebuild_options(live);
  return translated([&] {
    pqxx::work tx(connection);
    const std::string mark = mark_of(tx, live);
    const bool row =
        !sql::exec(tx, "SELECT FROM postrider.cursor WHERE readmodel = $1", anew.name).empty();
    const auto comment = comment_of(tx, anew.schema);
    if (comment && !is_ours(*comment)) refuse_strange_schema(anew.schema);
    if (row && comment == mark) {
      sql::exec(tx,
                "UPDATE postrider.stopped SET decision = 'retry', decided_by = session_user "
                "WHERE readmodel = $1 AND decision IS NULL",
                anew.name);
      tx.commit();
      return Begun::kGoesOn;
    }
    if (comment) tx.exec("DROP SCHEMA " + tx.quote_name(anew.schema) + " CASCADE");
    sql::exec(tx, "DELETE FROM postrider.cursor WHERE readmodel = $1", anew.name);
    make_schema(tx, anew);
    make_cursor(tx, anew);
    tx.exec("COMMENT ON SCHEMA " + tx.quote_name(anew.schema) + " IS " + tx.quote(mark));
    tx.commit();
    return Begun::kAnew;
  });
}

bool drop_old_schema(pqxx::connection& connection, const std::string& schema) {
  const std::string old = schema + "__old";
  try {
    pqxx::work tx(connection);
    const auto comment = comment_of(tx, old);
    if (!comment || !is_ours(*comment)) return true;
    // Locked, so that nobody makes something upon them between the look and the drop.
    if (!try_lock_tables(tx, tables_in(tx, old))) return false;
    // CASCADE is for what lies within; what somebody has made upon it since is not ours to drop.
    const auto dependents = sql::exec(tx, kDependents, old)[0][0];
    if (!dependents.is_null()) {
      spdlog::error(
          "schema {} holds tables that a rebuild replaced, and stays, since these still depend on "
          "it: {}; drop them, or make them again upon the new tables, and the next start of the "
          "applier or rebuild drops it",
          old, dependents.as<std::string>());
      return true;
    }
    tx.exec("DROP SCHEMA IF EXISTS " + tx.quote_name(old) + " CASCADE");
    tx.commit();
    return true;
  } catch (const pqxx::sql_error& e) {
    const auto state = sql::sqlstate(e);
    // In use, or another process (the live applier does it, too) drops it at this moment: its
    // tables, or the schema, are gone once their lock is ours.
    for (const char* meanwhile : {"55P03", "40P01", "XX000", "3F000", "42P01"})
      if (state == meanwhile) return false;
    throw Failure(translate_target(e));
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  }
}

}  // namespace postrider
