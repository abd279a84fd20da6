#include "daemon/repair/repair_row.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/failpoint.h"
#include "base/postgres/conninfo.h"
#include "relay/progress/capture_rule.h"

namespace postrider {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kIdsAtOnce = 5000;

template <class Body>
auto run(Body body) {
  try {
    return body();
  } catch (const pqxx::sql_error& e) {
    const auto state = sql::sqlstate(e);
    if (state == "42501")
      throw Failure(ErrorKind::kNoPermission, e.what(),
                    "migrate.conninfo must connect as the outbox's owner");
    if (state == "55P03")
      throw Failure(
          ErrorKind::kPostgresUnavailable, e.what(),
          "something holds a lock that the repair needs: end it and run the repair again");
    throw Failure(ErrorKind::kPostgresUnavailable, e.what(), "run the repair again");
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what(), connection_remedy(e.what()));
  }
}

void require_unfenced(const pqxx::result& updated) {
  if (updated.affected_rows() != 1)
    throw Failure(ErrorKind::kSessionFenced,
                  "a relay or another repair has taken the source over meanwhile",
                  "stop the relays of this source, and run the repair again");
}

// A row moves: its copy is decoded, its deletion is not published. Order: by commit where the
// server knows it, else by transaction id; within a transaction as its statements wrote them.
void move_rows(pqxx::work& tx, const std::vector<OutboxRow>& missing, bool by_commit_time) {
  // A row's cmin is its statement's number only until it is deleted.
  tx.exec(
      "CREATE TEMP TABLE postrider_missing (id uuid PRIMARY KEY, statement bigint) ON COMMIT DROP");
  for (std::size_t from = 0; from < missing.size(); from += kIdsAtOnce) {
    std::string ids;
    std::string statements;
    for (std::size_t i = from; i < std::min(from + kIdsAtOnce, missing.size()); ++i) {
      ids += (i == from ? "{" : ",") + uuid_text(missing[i].id);
      statements += (i == from ? "{" : ",") + std::to_string(missing[i].command);
    }
    sql::exec(tx, "INSERT INTO postrider_missing SELECT * FROM unnest($1::uuid[], $2::bigint[])",
              ids + "}", statements + "}");
    POSTRIDER_FAILPOINT("repair.mid_ids");
  }
  tx.exec("ANALYZE postrider_missing");
  const std::string commit_time =
      by_commit_time ? "pg_xact_commit_timestamp(xid::xid) NULLS FIRST, " : "";
  const auto moved = tx.exec(
      "WITH moved AS (DELETE FROM outbox.events e USING postrider_missing m WHERE e.id = m.id "
      "RETURNING e.*, m.statement, e.tableoid AS place, e.ctid AS line) "
      "INSERT INTO outbox.events (id, created_at, subject, key, type, content_type, headers, "
      "payload, payload_bytes) SELECT id, created_at, subject, key, type, content_type, headers, "
      "payload, payload_bytes FROM moved ORDER BY " +
      commit_time + "xid, statement, place, line");
  if (static_cast<std::size_t>(moved.affected_rows()) != missing.size())
    throw Failure(ErrorKind::kPostgresUnavailable,
                  std::to_string(missing.size()) + " rows were to be sent again, " +
                      std::to_string(moved.affected_rows()) + " are there",
                  "somebody has deleted some meanwhile: run the repair again");
}

// As SQL has it, and plain.
using TableName = std::pair<std::string, std::string>;

std::vector<TableName> captured_tables(pqxx::transaction_base& tx, const std::string& source,
                                       const std::vector<std::string>& outboxes) {
  std::vector<TableName> tables;
  for (const auto& row :
       sql::exec(tx,
                 "SELECT format('%I.%I', t.schemaname, t.tablename), "
                 "t.schemaname || '.' || t.tablename FROM outbox.checkpoint c "
                 "JOIN pg_publication_tables t ON t.pubname = c.publication || '_capture' "
                 "WHERE c.source = $1 ORDER BY 1",
                 source)) {
    auto plain = row[1].as<std::string>();
    if (std::ranges::find(outboxes, plain) == outboxes.end())
      tables.emplace_back(row[0].as<std::string>(), std::move(plain));
  }
  return tables;
}

std::vector<OrderedBackfill> order_backfills(pqxx::work& tx, const std::string& source,
                                             const std::vector<std::string>& outboxes) {
  std::vector<OrderedBackfill> ordered;
  for (const auto& [table, plain] : captured_tables(tx, source, outboxes)) {
    OrderedBackfill backfill{plain, {}};
    try {
      pqxx::subtransaction attempt(tx);
      // One that is under way rests on changes that the old slot had.
      sql::exec(attempt, "SELECT outbox.backfill_decide($1, $2, 'cancel')", source, table);
      sql::exec(attempt, "SELECT outbox.backfill_start($1, $2, NULL, true)", source, table);
      attempt.commit();
    } catch (const pqxx::sql_error& e) {
      if (const auto state = sql::sqlstate(e); state == "40001" || state == "55P03") throw;
      backfill.problem = e.what();
    }
    ordered.push_back(std::move(backfill));
  }
  return ordered;
}

}  // namespace

RepairRow::RepairRow(const std::string& owner_conninfo, std::string source, std::int64_t session,
                     const std::string& system_id)
    : source_(std::move(source)), session_(session) {
  run([&] {
    connection_ =
        std::make_unique<pqxx::connection>(with_defaults(owner_conninfo, liveness_defaults()));
    sql::forbid_reconnecting(*connection_);
    pqxx::nontransaction tx(*connection_);
    tx.exec(
        "SET application_name = 'postrider repair'; SET client_min_messages = warning; "
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
        "SET row_security = off; SET synchronous_commit = on");
    sql::forbid_transaction_timeout(tx);
    const auto row = tx.exec(
        "SELECT system_identifier::text, has_database_privilege(current_database(), 'TEMP') "
        "FROM pg_control_system()")[0];
    if (row[0].as<std::string>() != system_id)
      throw Failure(ErrorKind::kConfiguration,
                    "migrate.conninfo and source.conninfo lead to different clusters",
                    "after a failover both must name the new primary");
    if (!row[1].as<bool>())
      throw Failure(ErrorKind::kNoPermission, "the owner may not make temporary tables",
                    "GRANT TEMPORARY ON DATABASE ... to migrate.conninfo's role");
  });
}

RepairRow::~RepairRow() = default;

void RepairRow::begin(const BegunRepair& begun, std::chrono::milliseconds limit) {
  Json json = {{"used", begun.used}, {"good", begun.good}};
  if (begun.void_after) json["void_after"] = *begun.void_after;
  run([&] {
    pqxx::work tx(*connection_);
    tx.exec("SET LOCAL lock_timeout = " + std::to_string(limit.count()));
    // Taken shared by every transaction that writes into the wal store.
    tx.exec("SELECT pg_advisory_xact_lock(28786, 1)");
    // outbox.maintain() drops nothing meanwhile.
    tx.exec("SELECT pg_advisory_lock(28786, 2)");
    require_unfenced(sql::exec(
        tx,
        "UPDATE outbox.checkpoint SET repair = $3::jsonb || jsonb_build_object('wal_store', "
        "coalesce((repair->>'wal_store')::boolean, wal_store), 'begun_at', "
        "coalesce(repair->>'begun_at', now()::text)), wal_store = false, updated_at = now() "
        "WHERE source = $1 AND session = $2",
        source_, session_, json.dump()));
    tx.exec(
        "SELECT setval('outbox.wal_store_gate', 0) "
        "WHERE NOT EXISTS (SELECT 1 FROM outbox.checkpoint WHERE wal_store)");
    tx.commit();
  });
}

void RepairRow::abandon() {
  run([&] {
    pqxx::work tx(*connection_);
    require_unfenced(sql::exec(tx,
                               "UPDATE outbox.checkpoint SET wal_store = "
                               "(repair->>'wal_store')::boolean, repair = NULL, updated_at = now() "
                               "WHERE source = $1 AND session = $2",
                               source_, session_));
    tx.commit();
  });
}

bool RepairRow::tracks_commit_times() {
  return run([&] {
    pqxx::nontransaction tx(*connection_);
    return tx.exec("SELECT current_setting('track_commit_timestamp') = 'on'")[0][0].as<bool>();
  });
}

std::vector<OrderedBackfill> RepairRow::tables_to_replace(
    const std::vector<std::string>& outboxes) {
  return run([&] {
    pqxx::nontransaction tx(*connection_);
    std::vector<OrderedBackfill> tables;
    for (auto& [table, plain] : captured_tables(tx, source_, outboxes))
      tables.push_back({std::move(plain), {}});
    return tables;
  });
}

std::vector<OrderedBackfill> RepairRow::finish(const RepairedRow& row, const RepairPlan& plan,
                                               const std::vector<OutboxRow>& missing,
                                               const std::vector<std::string>& outboxes) {
  const bool by_commit_time = tracks_commit_times();
  return run([&] {
    pqxx::work tx(*connection_);
    tx.exec("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    tx.exec("SET TRANSACTION SNAPSHOT " + tx.quote(row.snapshot));
    tx.exec("SET LOCAL lock_timeout = '30s'");
    move_rows(tx, missing, by_commit_time);
    POSTRIDER_FAILPOINT("repair.after_rows");
    auto ordered = order_backfills(tx, source_, outboxes);
    // A place behind a hole, or behind the newest message: it names none. The slot vouches for the
    // rest.
    require_unfenced(sql::exec(
        tx,
        "UPDATE outbox.checkpoint SET seq = $3, ordinal = $4, timeline = $5, lsn = '0/0', idx = 0, "
        "part = NULL, xid = 0, commit_time_us = $11, epoch = $6, confirm_to = $7::pg_lsn, "
        "system_id = $8, incarnation = nullif($9, ''), epochs = $10::jsonb, foreign_seq = NULL, "
        "publication_version = outbox.publication_version(publication), "
        "capture_from = least(capture_from, $7::pg_lsn), "
        "wal_store = (repair->>'wal_store')::boolean, repair = NULL, updated_at = now() "
        "WHERE source = $1 AND session = $2",
        source_, session_, static_cast<std::int64_t>(plan.last_seq),
        static_cast<std::int64_t>(plan.next_ordinal - 1), static_cast<std::int64_t>(row.timeline),
        static_cast<std::int64_t>(row.epoch), row.point.to_string(), row.system_id, row.incarnation,
        row.epochs_json, row.commit_time_us));
    POSTRIDER_FAILPOINT("repair.before_commit");
    tx.commit();
    POSTRIDER_FAILPOINT("repair.after_commit");
    return ordered;
  });
}

std::optional<BegunRepair> read_begun_repair(pqxx::connection& connection,
                                             const std::string& source) {
  return run([&]() -> std::optional<BegunRepair> {
    pqxx::nontransaction tx(connection);
    const auto rows = sql::exec(tx,
                                "SELECT repair->>'used', repair->>'void_after', repair->>'good' "
                                "FROM outbox.checkpoint WHERE source = $1 "
                                "AND repair IS NOT NULL",
                                source);
    if (rows.empty()) return std::nullopt;
    BegunRepair begun;
    begun.used = rows[0][0].as<std::uint64_t>();
    begun.good = rows[0][2].as<std::uint64_t>();
    if (!rows[0][1].is_null()) begun.void_after = rows[0][1].as<std::uint64_t>();
    return begun;
  });
}

}  // namespace postrider
