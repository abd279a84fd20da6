#include "readmodel/postgres/swap.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/failpoint.h"
#include "readmodel/postgres/rebuild_schema.h"
#include "readmodel/postgres/setup.h"
#include "readmodel/postgres/translate.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSnapshotPatience{500};
constexpr milliseconds kSnapshotPoll{5};

// Transactions of others that hold a snapshot now. Not the live applier, which waits for us; nor
// whoever is in postrider.wait_for, which shows itself by an advisory lock: it waits for the live
// applier, and so for us, and begins another statement before it reads.
constexpr const char* kSnapshots = R"(
SELECT 'backend ' || a.pid || ' (transaction ' || l.virtualtransaction || ', xmin ' || a.backend_xmin || ')'
FROM pg_catalog.pg_stat_activity a
JOIN pg_catalog.pg_locks l ON l.pid = a.pid AND l.locktype = 'virtualxid' AND l.granted
WHERE a.datname = current_database() AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid()
  AND a.backend_xmin IS NOT NULL AND NOT pg_backend_pid() = ANY (pg_blocking_pids(a.pid))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks w WHERE w.pid = a.pid AND w.locktype = 'advisory'
                  AND w.classid = 28791 AND w.objid = 0 AND w.objsubid = 2)
)";

// Statements that give the objects of schema $2 what was granted on those of the same name in $1.
constexpr const char* kGrants = R"(
WITH pair AS (
  SELECT o.oid AS old, n.oid AS new, o.relacl AS acl, o.relkind AS kind, o.relowner AS owner
  FROM pg_catalog.pg_class o JOIN pg_catalog.pg_class n ON n.relname = o.relname AND n.relkind = o.relkind
  WHERE o.relnamespace = $1::regnamespace AND n.relnamespace = $2::regnamespace
    AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')),
routine AS (
  SELECT o.proacl AS acl, n.oid AS new, o.proowner AS owner
  FROM pg_catalog.pg_proc o JOIN pg_catalog.pg_proc n
    ON n.proname = o.proname AND oidvectortypes(n.proargtypes) = oidvectortypes(o.proargtypes)
  WHERE o.pronamespace = $1::regnamespace AND n.pronamespace = $2::regnamespace),
given AS (
  SELECT a.*, 'SCHEMA ' || $2::regnamespace AS what, '' AS columns, n.nspowner AS owner
    FROM pg_catalog.pg_namespace n, aclexplode(n.nspacl) a WHERE n.oid = $1::regnamespace
  UNION ALL SELECT a.*, CASE kind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || new::regclass, '', owner
    FROM pair, aclexplode(acl) a
  UNION ALL SELECT a.*, 'TABLE ' || new::regclass, format(' (%I)', t.attname), owner
    FROM pair JOIN pg_catalog.pg_attribute t ON t.attrelid = old AND NOT t.attisdropped
      AND EXISTS (SELECT FROM pg_catalog.pg_attribute u
                  WHERE u.attrelid = new AND u.attname = t.attname AND NOT u.attisdropped),
      aclexplode(t.attacl) a
  UNION ALL SELECT a.*, 'ROUTINE ' || new::regprocedure, '', owner FROM routine, aclexplode(acl) a)
SELECT format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', new::regprocedure) FROM routine
  WHERE acl IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(acl) a WHERE a.grantee = 0)
UNION ALL
SELECT format('GRANT %s%s ON %s TO %s%s', privilege_type, columns, what,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM given WHERE grantee <> owner)";

}  // namespace

Swap::Swap(pqxx::connection& connection, const ReadModelOptions& live)
    : connection_(connection), live_(live), anew_(rebuild_options(live)) {}

std::optional<std::uint64_t> Swap::hold() {
  try {
    tx_.emplace(connection_);
    tx_->exec("SET LOCAL lock_timeout = '200ms'");
    const auto row = sql::exec(
        *tx_, "SELECT ordinal FROM postrider.cursor WHERE readmodel = $1 FOR UPDATE", live_.name);
    live_ordinal_ = row[0][0].as<std::uint64_t>();
    return live_ordinal_;
  } catch (const pqxx::sql_error& e) {
    if (sql::sqlstate(e) == "55P03") return std::nullopt;
    throw Failure(translate_target(e));
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  }
}

Swap::Outcome Swap::exchange() {
  return translated([&] {
    new_ordinal_ =
        sql::exec(*tx_, "SELECT ordinal FROM postrider.cursor WHERE readmodel = $1 FOR UPDATE",
                  anew_.name)[0][0]
            .as<std::uint64_t>();
    if (new_ordinal_ < live_ordinal_) return Outcome::kBehind;
    if (!old_snapshots_end()) return Outcome::kOldSnapshots;
    if (!lock_tables()) return Outcome::kTablesInUse;
    POSTRIDER_FAILPOINT("rebuild.tables_locked");
    // Again, since somebody may have made a view upon them while the new ones were built.
    require_independent(*tx_, live_.schema);
    rename();
    move_rows();
    POSTRIDER_FAILPOINT("rebuild.before_commit");
    // In doubt from here until it returns.
    tx_->commit();
    POSTRIDER_FAILPOINT("rebuild.after_commit");
    return Outcome::kDone;
  });
}

bool Swap::old_snapshots_end() {
  const auto snapshots = [&] {
    std::vector<std::string> all;
    for (const auto& row : tx_->exec(kSnapshots)) all.push_back(row[0].as<std::string>());
    std::ranges::sort(all);
    return all;
  };
  auto waiting = snapshots();
  const auto deadline = std::chrono::steady_clock::now() + kSnapshotPatience;
  while (!waiting.empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kSnapshotPoll);  // nothing tells when a snapshot ends
    const auto now = snapshots();
    std::erase_if(waiting, [&](const auto& one) { return !std::ranges::binary_search(now, one); });
  }
  if (!waiting.empty()) whom_ = waiting.front();
  return waiting.empty();
}

bool Swap::lock_tables() {
  const std::string tables = tables_in(*tx_, live_.schema);
  if (try_lock_tables(*tx_, tables)) return true;
  whom_ = "a reader of " + tables;
  return false;
}

void Swap::carry_privileges() {
  for (const auto& row :
       sql::exec(*tx_, kGrants, tx_->quote_name(live_.schema), tx_->quote_name(anew_.schema)))
    tx_->exec(row[0].as<std::string>());
}

void Swap::rename() {
  const std::string live = tx_->quote_name(live_.schema);
  const std::string anew = tx_->quote_name(anew_.schema);
  const std::string old = tx_->quote_name(live_.schema + "__old");
  std::string comment;
  if (schema_exists(*tx_, live_.schema)) {
    carry_privileges();
    comment =
        sql::exec(*tx_, "SELECT coalesce(obj_description($1::regnamespace, 'pg_namespace'), '')",
                  live)[0][0]
            .as<std::string>();
    tx_->exec("ALTER SCHEMA " + live + " RENAME TO " + old);
    tx_->exec("COMMENT ON SCHEMA " + old + " IS " +
              tx_->quote("postrider: replaced tables of read model " + live_.name));
  }
  tx_->exec("ALTER SCHEMA " + anew + " RENAME TO " + live);
  tx_->exec("COMMENT ON SCHEMA " + live + " IS " +
            (comment.empty() ? "NULL" : tx_->quote(comment)));
}

void Swap::move_rows() {
  const auto& live = live_.name;
  const auto& anew = anew_.name;
  // The new tables were built from every event, those set aside by the old ones, too.
  sql::exec(*tx_, "DELETE FROM postrider.stopped WHERE readmodel = $1", live);
  sql::exec(*tx_, "DELETE FROM postrider.parked WHERE readmodel = $1", live);
  sql::exec(*tx_, "UPDATE postrider.parked SET readmodel = $1 WHERE readmodel = $2", live, anew);
  sql::exec(*tx_,
            "UPDATE postrider.cursor c SET generation = c.generation + 1, "
            "incarnation = r.incarnation, seq = r.seq, ordinal = r.ordinal, "
            "timeline = r.timeline, lsn = r.lsn, idx = r.idx, part = r.part, xid = r.xid, "
            "commit_time_us = r.commit_time_us, epoch = r.epoch, updated_at = now() "
            "FROM postrider.cursor r WHERE c.readmodel = $1 AND r.readmodel = $2",
            live, anew);
  sql::exec(*tx_, "DELETE FROM postrider.cursor WHERE readmodel = $1", anew);
  sql::exec(*tx_,
            "INSERT INTO postrider.audit (action, readmodel, last_ordinal, detail) "
            "VALUES ('rebuild', $1, $2::bigint, $3)",
            live, static_cast<std::int64_t>(new_ordinal_),
            "built anew up to ordinal " + std::to_string(new_ordinal_) +
                "; the replaced tables were at " + std::to_string(live_ordinal_));
}

}  // namespace postrider
