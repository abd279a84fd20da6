#include "readmodel/postgres/target.h"

#include <utility>

#include "base/postgres/conninfo.h"
#include "readmodel/postgres/event_arrays.h"
#include "readmodel/postgres/translate.h"

namespace postrider {
namespace {

constexpr const char* kSessionSettings =
    "SET client_min_messages = warning; SET DateStyle = ISO; SET client_encoding = 'UTF8'; "
    "SET default_transaction_isolation = 'read committed'; "
    "SET default_transaction_read_only = off; SET row_security = off; SET lock_timeout = '10s'";

// Whether `l` is the lock that a read model's applier holds for as long as it lives; $1 is
// kApplierLockClass, $2 the read model.
constexpr const char* kIsApplierLock =
    "l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = $1::int::oid "
    "AND l.objid = pg_catalog.hashtext($2)::bigint::bit(32)::bigint::oid AND l.database = "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ";

template <class Body>
auto transact(pqxx::connection& connection, Body body) {
  return translated([&] {
    pqxx::work tx(connection);
    if constexpr (std::is_void_v<decltype(body(tx))>) {
      body(tx);
      tx.commit();
    } else {
      auto value = body(tx);
      tx.commit();
      return value;
    }
  });
}

std::int64_t number(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

Cursor read_cursor(const pqxx::row& row) {
  Cursor c;
  c.incarnation = row["incarnation"].as<std::string>();
  c.seq = row["seq"].as<std::uint64_t>();
  c.ordinal = row["ordinal"].as<std::uint64_t>();
  c.position.timeline = row["timeline"].as<std::uint32_t>();
  c.position.commit_lsn = Lsn::parse(row["lsn"].c_str()).value_or(Lsn{});
  c.position.index = row["idx"].as<std::uint32_t>();
  if (!row["part"].is_null()) c.position.part = static_cast<std::uint16_t>(row["part"].as<int>());
  c.fingerprint = {row["xid"].as<std::uint32_t>(), row["commit_time_us"].as<std::int64_t>()};
  c.epoch = row["epoch"].as<std::uint32_t>();
  return c;
}

void write_coverage(pqxx::transaction_base& tx, const std::string& readmodel,
                    const CoverageNotice& notice) {
  sql::exec(tx,
            "INSERT INTO postrider.coverage (readmodel, system_id, timeline, lsn) "
            "VALUES ($1, $2, $3, $4::pg_lsn) ON CONFLICT (readmodel) DO UPDATE SET "
            "system_id = excluded.system_id, timeline = excluded.timeline, lsn = excluded.lsn, "
            "updated_at = now()",
            readmodel, notice.system_id, number(notice.timeline), notice.lsn.to_string());
}

}  // namespace

Target::Target(TargetOptions options) : options_(std::move(options)) {
  translated([&] {
    connection_ =
        std::make_unique<pqxx::connection>(with_defaults(options_.conninfo, liveness_defaults()));
    sql::forbid_reconnecting(*connection_);
    pqxx::nontransaction tx(*connection_);
    tx.exec(kSessionSettings);
    sql::forbid_transaction_timeout(tx);  // a source transaction, however large, is one here
    tx.exec("SET application_name = " + tx.quote("postrider apply " + options_.readmodel));
    tx.exec("SET search_path = " + tx.quote_name(options_.schema) +
            (options_.schema == "public" ? "" : ", public"));
  });
}
Target::~Target() = default;

void Target::require_schema(int known_version) {
  const int found = transact(*connection_, [](pqxx::work& tx) {
    return tx.exec("SELECT coalesce(max(version), 0) FROM postrider.schema_migrations")[0][0]
        .as<int>();
  });
  if (found == known_version) return;
  throw Failure(ErrorKind::kSchemaVersion,
                "schema \"postrider\" is at version " + std::to_string(found) +
                    ", this binary knows " + std::to_string(known_version),
                found < known_version ? "run `postrider migrate up --target` with this binary"
                                      : "run the newer postrider binary that migrated it");
}

bool Target::try_lock() {
  return transact(*connection_, [&](pqxx::work& tx) {
    return sql::exec(tx, "SELECT pg_try_advisory_lock($1::int, hashtext($2))", kApplierLockClass,
                     options_.readmodel)[0][0]
        .as<bool>();
  });
}

bool Target::end_dead_holder(std::chrono::milliseconds idle) {
  const auto asked = std::chrono::steady_clock::now();
  const auto holders = transact(*connection_, [&](pqxx::work& tx) {
    return sql::exec(
        tx,
        std::string(
            "SELECT a.pid, a.state_change::text, "
            "(extract(epoch FROM clock_timestamp() - a.state_change) * 1000)::bigint "
            "FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.usename = current_user "
            "AND a.state LIKE 'idle%' AND ") +
            kIsApplierLock,
        kApplierLockClass, options_.readmodel);
  });
  if (holders.empty()) return false;
  const auto pid = holders[0][0].as<int>();
  const auto changed = holders[0][1].as<std::string>();
  const std::chrono::milliseconds by_server(holders[0][2].as<std::int64_t>());
  if (holder_life_.silence(pid, changed, by_server, asked, std::chrono::steady_clock::now()) < idle)
    return false;
  // Looked at anew: not if it has just shown life, or has ended and another has its number.
  return transact(*connection_, [&](pqxx::work& tx) {
    return sql::exec(tx,
                     "SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) "
                     "FROM pg_stat_activity WHERE pid = $1 AND state_change::text = $2",
                     pid, changed)[0][0]
        .as<bool>();
  });
}

void Target::heartbeat() {
  transact(*connection_, [](pqxx::work& tx) { tx.exec("SELECT 1"); });
}

Cursor Target::open() {
  return transact(*connection_, [&](pqxx::work& tx) {
    sql::exec(tx,
              "INSERT INTO postrider.cursor (readmodel, source, stream) VALUES ($1, $2, $3) "
              "ON CONFLICT DO NOTHING",
              options_.readmodel, options_.source, options_.stream);
    const auto row =
        sql::exec(tx, "SELECT * FROM postrider.cursor WHERE readmodel = $1", options_.readmodel)[0];
    const auto source = row["source"].as<std::string>();
    const auto stream = row["stream"].as<std::string>();
    if (source != options_.source || stream != options_.stream)
      throw Failure(ErrorKind::kConfiguration,
                    "read model " + options_.readmodel + " holds events of source " + source +
                        " from stream " + stream + ", not of " + options_.source + " from " +
                        options_.stream,
                    "give the read model of another source another name");
    generation_ = row["generation"].as<std::int64_t>();
    return read_cursor(row);
  });
}

Failure Target::fenced(const Cursor& from) const {
  return {ErrorKind::kSessionFenced,
          "another applier, or a rebuild, has moved the cursor of read "
          "model " +
              options_.readmodel + " on from ordinal " + std::to_string(from.ordinal)};
}

std::optional<Stop> Target::stop() {
  return transact(*connection_, [&](pqxx::work& tx) -> std::optional<Stop> {
    const auto rows = sql::exec(tx,
                                "SELECT *, coalesce(decision, '') AS d, coalesce(decided_by, '') "
                                "AS b FROM postrider.stopped WHERE readmodel = $1",
                                options_.readmodel);
    if (rows.empty()) return std::nullopt;
    const auto& row = rows[0];
    Stop stop;
    stop.first_ordinal = row["first_ordinal"].as<std::uint64_t>();
    if (!row["last_ordinal"].is_null()) stop.last_ordinal = row["last_ordinal"].as<std::uint64_t>();
    stop.position = row["position"].as<std::string>();
    stop.projection = row["projection"].as<std::string>();
    stop.sqlstate = row["sqlstate"].as<std::string>();
    stop.error = row["error"].as<std::string>();
    stop.decision = row["d"].as<std::string>();
    stop.decided_by = row["b"].as<std::string>();
    return stop;
  });
}

void Target::write_stop(const Stop& stop, const Cursor& at) {
  transact(*connection_, [&](pqxx::work& tx) {
    const auto same = sql::exec(tx,
                                "SELECT FROM postrider.cursor WHERE readmodel = $1 AND "
                                "ordinal = $2 AND generation = $3 FOR UPDATE",
                                options_.readmodel, number(at.ordinal), generation_);
    if (same.empty()) throw fenced(at);
    sql::exec(tx,
              "INSERT INTO postrider.stopped (readmodel, first_ordinal, last_ordinal, position, "
              "projection, sqlstate, error) VALUES ($1, $2, nullif($3::bigint, 0), $4, $5, $6, $7) "
              "ON CONFLICT (readmodel) DO UPDATE SET first_ordinal = excluded.first_ordinal, "
              "last_ordinal = excluded.last_ordinal, position = excluded.position, "
              "projection = excluded.projection, sqlstate = excluded.sqlstate, "
              "error = excluded.error, stopped_at = now(), decision = NULL, decided_by = NULL",
              options_.readmodel, number(stop.first_ordinal), number(stop.last_ordinal),
              stop.position, stop.projection, stop.sqlstate, stop.error);
  });
}

void Target::clear_stop(const Stop& stop) {
  transact(*connection_, [&](pqxx::work& tx) {
    const auto gone =
        sql::exec(tx, "DELETE FROM postrider.stopped WHERE readmodel = $1", options_.readmodel);
    if (gone.affected_rows() == 0) return;
    sql::exec(tx,
              "INSERT INTO postrider.audit (by, action, readmodel, first_ordinal, last_ordinal, "
              "detail) VALUES ($1, 'retry', $2, $3, nullif($4::bigint, 0), $5)",
              stop.decided_by, options_.readmodel, number(stop.first_ordinal),
              number(stop.last_ordinal), stop.error);
  });
}

void Target::drop_stop() {
  transact(*connection_, [&](pqxx::work& tx) {
    sql::exec(tx, "DELETE FROM postrider.stopped WHERE readmodel = $1", options_.readmodel);
  });
}

void Target::note_coverage(const CoverageNotice& notice) {
  transact(*connection_, [&](pqxx::work& tx) {
    // Nothing rests on it after a crash: the relay says it again.
    tx.exec("SET LOCAL synchronous_commit = off");
    write_coverage(tx, options_.readmodel, notice);
  });
}

std::optional<Barrier> Target::barrier() {
  return transact(*connection_, [&](pqxx::work& tx) -> std::optional<Barrier> {
    const auto rows = sql::exec(tx,
                                "SELECT barrier_holder, barrier_timeline, barrier_lsn FROM "
                                "postrider.cursor WHERE readmodel = $1 AND barrier_holder IS NOT "
                                "NULL",
                                options_.readmodel);
    if (rows.empty()) return std::nullopt;
    // Ours until the commit: nobody can set another one before this one is away.
    const bool abandoned =
        sql::exec(tx, "SELECT pg_try_advisory_xact_lock_shared($1::int, hashtext($2))",
                  kBarrierLockClass, options_.readmodel)[0][0]
            .as<bool>();
    if (abandoned) {
      sql::exec(tx, "UPDATE postrider.cursor SET barrier_holder = NULL WHERE readmodel = $1",
                options_.readmodel);
      return std::nullopt;
    }
    return Barrier{rows[0][0].as<std::string>(), rows[0][1].as<std::uint32_t>(),
                   Lsn::parse(rows[0][2].c_str()).value_or(Lsn{})};
  });
}

void Target::report_reached(const Barrier& barrier) {
  transact(*connection_, [&](pqxx::work& tx) {
    sql::exec(tx,
              "UPDATE postrider.cursor SET barrier_reached = true WHERE readmodel = $1 AND "
              "barrier_holder = $2 AND barrier_timeline = $3 AND barrier_lsn = $4::pg_lsn",
              options_.readmodel, barrier.holder, number(barrier.timeline),
              barrier.lsn.to_string());
  });
}

Target::Transaction::Transaction(Target& target, const Cursor& from, const Cursor& to)
    : target_(target),
      tx_(translated([&] { return std::make_unique<pqxx::work>(*target.connection_); })) {
  move(from, to);
}

Target::Transaction::~Transaction() = default;

pqxx::transaction_base& Target::Transaction::sql() {
  return *tx_;
}

void Target::Transaction::move(const Cursor& from, const Cursor& to) {
  translated([&] {
    const std::optional<std::string> part =
        to.position.part ? std::optional(std::to_string(*to.position.part)) : std::nullopt;
    const auto moved = sql::exec(
        *tx_,
        "UPDATE postrider.cursor SET incarnation = $1, seq = $2, ordinal = $3, timeline = $4, "
        "lsn = $5::pg_lsn, idx = $6, part = $7::int, xid = $8, commit_time_us = $9, epoch = $10, "
        "updated_at = now() "
        "WHERE readmodel = $11 AND ordinal = $12 AND lsn = $13::pg_lsn AND incarnation = $14 "
        "AND commit_time_us = $15 AND generation = $16 "
        "AND (barrier_holder IS NULL OR ordinal = $3 "
        "OR ($4, $5::pg_lsn) < (barrier_timeline, barrier_lsn))",
        to.incarnation, number(to.seq), number(to.ordinal), number(to.position.timeline),
        to.position.commit_lsn.to_string(), number(to.position.index),
        part ? part->c_str() : nullptr, number(to.fingerprint.xid), to.fingerprint.commit_time_us,
        number(to.epoch), target_.options_.readmodel, number(from.ordinal),
        from.position.commit_lsn.to_string(), from.incarnation, from.fingerprint.commit_time_us,
        target_.generation_);
    if (moved.affected_rows() == 1) return;
    // Read anew: the statement above saw the newest row, this one does, too.
    const auto held = sql::exec(*tx_,
                                "SELECT 1 FROM postrider.cursor WHERE readmodel = $1 AND "
                                "ordinal = $2 AND lsn = $3::pg_lsn AND generation = $4 AND "
                                "barrier_holder IS NOT NULL",
                                target_.options_.readmodel, number(from.ordinal),
                                from.position.commit_lsn.to_string(), target_.generation_);
    if (!held.empty())
      throw BarrierHit(ErrorKind::kSessionFenced, "postrider verify holds read model " +
                                                      target_.options_.readmodel + " at ordinal " +
                                                      std::to_string(from.ordinal));
    throw target_.fenced(from);
  });
}

void Target::Transaction::note_coverage(const CoverageNotice& notice) {
  translated([&] { write_coverage(*tx_, target_.options_.readmodel, notice); });
}

void Target::Transaction::set_aside(const Stop& stop, std::span<const ReceivedEvent> events,
                                    const char* action) try {
  const bool park = std::string_view(action) == "park";
  EventArrays arrays;
  for (const auto& event : events) arrays.add(event);
  const auto& name = target_.options_.readmodel;
  const auto columns = arrays.take();
  std::apply(
      [&](const auto&... c) {
        sql::exec(*tx_,
                  std::string("INSERT INTO postrider.audit (by, action, readmodel, "
                              "first_ordinal, last_ordinal, detail, events) "
                              "SELECT coalesce(nullif($13::text, ''), session_user), $14::text, "
                              "$15::text, $16::bigint, $17::bigint, $18::text, ") +
                      kToEvents,
                  c..., stop.decided_by, action, name, number(stop.first_ordinal),
                  number(stop.last_ordinal), stop.projection + ": " + stop.error);
        if (park)
          sql::exec(*tx_,
                    std::string("INSERT INTO postrider.parked (readmodel, first_ordinal, "
                                "last_ordinal, projection, sqlstate, error, events) "
                                "SELECT $13::text, $14::bigint, $15::bigint, $16::text, $17::text, "
                                "$18::text, ") +
                        kToEvents,
                    c..., name, number(stop.first_ordinal), number(stop.last_ordinal),
                    stop.projection, stop.sqlstate, stop.error);
      },
      columns);
  sql::exec(*tx_, "DELETE FROM postrider.stopped WHERE readmodel = $1", name);
} catch (const pqxx::sql_error& e) {
  // A right or a table that is missing has a remedy of its own.
  const Error error = translate_target(e);
  if (error.kind != ErrorKind::kPostgresUnavailable) throw Failure(error);
  throw;
}

void Target::Transaction::heartbeat() {
  translated([&] { tx_->exec("SELECT 1"); });
}

void Target::Transaction::commit() {
  // In doubt from here until it returns: a broken connection leaves the outcome open, and the next
  // session reads the cursor. An SQL error is a refusal: a deferred constraint, for example.
  tx_->commit();
}

void Target::Transaction::settle() {
  translated([&] { tx_->commit(); });
}

bool is_applied_by_somebody(pqxx::connection& connection, const std::string& readmodel) {
  return translated([&] {
    pqxx::work tx(connection);
    return !sql::exec(tx, std::string("SELECT FROM pg_catalog.pg_locks l WHERE ") + kIsApplierLock,
                      kApplierLockClass, readmodel)
                .empty();
  });
}

}  // namespace postrider
