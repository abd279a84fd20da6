#include "relay/postgres/source.h"

#include "base/postgres/conninfo.h"
#include "base/postgres/standby_slots.h"

namespace postrider {
namespace {

// A statement of ours that takes this long is stuck behind something that a new session should look
// at. Compiling one takes a second, and none takes so long.
constexpr const char* kSessionSettings =
    "SET statement_timeout = '15s'; SET lock_timeout = '10s'; SET "
    "idle_in_transaction_session_timeout = "
    "'30s'; SET default_transaction_read_only = off; SET default_transaction_isolation = 'read "
    "committed'; SET synchronous_commit = on; SET DateStyle = "
    "ISO; "
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = '10s'; SET client_min_messages = warning; SET search_path = "
    "pg_catalog; "
    "SET jit = off";

constexpr int kLockClass = 0x7072;  // "pr": the first half of our advisory locks' two-part key

Error translate(const pqxx::sql_error& e) {
  const std::string state = sql::sqlstate(e);
  if (state == "42501" || state.starts_with("28"))
    return {ErrorKind::kNoPermission, e.what(),
            "GRANT postrider_relay to the relay's role (docs/operating.md, \"Roles\")"};
  // No such table, schema, function, column.
  if (state == "42P01" || state == "3F000" || state == "42883" || state == "42703")
    return {ErrorKind::kNotInitialised, e.what(), "run `postrider migrate up`"};
  return {ErrorKind::kPostgresUnavailable, e.what(), ""};
}

// Runs `body` with a transaction, commits, and translates what libpqxx throws.
template <class Body>
auto transact(pqxx::connection& connection, SqlWatch* watch, Body body) {
  try {
    const SqlWatch::Guard guard(watch, connection.sock());
    pqxx::work tx(connection);
    if constexpr (std::is_void_v<decltype(body(tx))>) {
      body(tx);
      tx.commit();  // in doubt from here until it returns; a new session reads the row again
    } else {
      auto value = body(tx);
      tx.commit();
      return value;
    }
  } catch (const pqxx::sql_error& e) {
    throw Failure(translate(e));
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  }
}

Lsn to_lsn(const pqxx::field& field) {
  if (field.is_null()) return {};
  const auto lsn = Lsn::parse(field.c_str());
  if (!lsn) throw Failure(ErrorKind::kProtocol, std::string("not an LSN: ") + field.c_str());
  return *lsn;
}

template <class T>
T get(const pqxx::row& row, const char* name) {
  return row[name].as<T>();
}

Checkpoint read_row(const pqxx::row& row) {
  Checkpoint c;
  c.slot = get<std::string>(row, "slot");
  c.publication = get<std::string>(row, "publication");
  if (!row["publication_version"].is_null())
    c.publication_version = get<std::string>(row, "publication_version");
  c.system_id = get<std::string>(row, "system_id");
  c.session = get<std::int64_t>(row, "session");
  c.incarnation = row["incarnation"].is_null() ? "" : get<std::string>(row, "incarnation");
  c.mark.seq = get<std::uint64_t>(row, "seq");
  c.mark.ordinal = get<std::uint64_t>(row, "ordinal");
  c.mark.position.timeline = get<std::uint32_t>(row, "timeline");
  c.mark.position.commit_lsn = to_lsn(row["lsn"]);
  c.mark.position.index = get<std::uint32_t>(row, "idx");
  if (!row["part"].is_null())
    c.mark.position.part = static_cast<std::uint16_t>(get<int>(row, "part"));
  c.mark.fingerprint = {get<std::uint32_t>(row, "xid"), get<std::int64_t>(row, "commit_time_us")};
  c.mark.epoch = get<std::uint32_t>(row, "epoch");
  c.confirm_to = to_lsn(row["confirm_to"]);
  c.epochs_json = get<std::string>(row, "epochs");
  c.wal_store = get<bool>(row, "wal_store");
  c.repairing = !row["repair"].is_null();
  c.capture_from = to_lsn(row["capture_from"]);
  if (!row["foreign_seq"].is_null()) c.foreign_seq = get<std::uint64_t>(row, "foreign_seq");
  return c;
}

void require_unfenced(const pqxx::result& answer) {
  if (!answer[0][0].as<bool>())
    throw Failure(ErrorKind::kSessionFenced, "a newer session owns the source");
}

}  // namespace

void require_publication(const PublicationState& publication, const std::string& expected_version) {
  const std::string name = "publication \"" + publication.name + "\" ";
  const std::string see = "docs/operating.md, \"publication missing\"";
  if (!publication.problem.empty())
    throw Failure(
        ErrorKind::kPublicationMissing, name + publication.problem,
        "put it back: FOR TABLE outbox.events WITH (publish = 'insert', publish_via_partition_root "
        "= true); `postrider migrate up` makes a missing one. Then `postrider repair`: " +
            see);
  if (publication.version != expected_version)
    throw Failure(ErrorKind::kPublicationMissing,
                  name +
                      "was altered since the relay last knew it: events committed meanwhile may "
                      "not have been decoded",
                  "`postrider repair` sends what the stream lacks. (As the owner, SELECT "
                  "outbox.accept_publication('<source>') lets the relay go on without what was "
                  "committed meanwhile, and never where the publication was dropped): " +
                      see);
}

void require_capture(const std::string& publication, const std::string& problem) {
  if (problem.empty()) return;
  throw Failure(
      ErrorKind::kPublicationMissing,
      "publication \"" + publication + "\" " + problem +
          ": changes of captured tables may be missing since",
      "`postrider migrate up` publishes what [[capture]] names, and vouches for it (as the "
      "owner, for what is there: SELECT outbox.accept_capture('<source>')); then the relay "
      "goes on. What the stream lacks is yours to send: docs/capture.md, \"An altered "
      "publication\"");
}

void require_binding(const Checkpoint& row, const std::string& slot,
                     const std::string& publication) {
  const auto require = [](const char* key, const std::string& ours, const std::string& theirs) {
    if (ours != theirs)
      throw Failure(ErrorKind::kConfiguration,
                    std::string(key) + " is \"" + ours +
                        "\", but the source was initialised with \"" + theirs + "\"",
                    std::string("set ") + key + " = \"" + theirs + "\"");
  };
  require("source.slot", slot, row.slot);
  require("source.publication", publication, row.publication);
}

Source::Source(const std::string& conninfo, const std::string& application_name, SqlWatch* watch)
    : watch_(watch) {
  try {
    connection_ = std::make_unique<pqxx::connection>(with_defaults(conninfo, liveness_defaults()));
    sql::forbid_reconnecting(*connection_);
    const SqlWatch::Guard guard(watch_, connection_->sock());
    pqxx::nontransaction tx(*connection_);
    tx.exec(kSessionSettings);
    sql::forbid_transaction_timeout(tx);
    tx.exec("SET application_name = " + tx.quote(application_name));
  } catch (const pqxx::sql_error& e) {
    throw Failure(translate(e));
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what(), connection_remedy(e.what()));
  }
}
Source::~Source() = default;
Source::Source(Source&&) noexcept = default;
Source& Source::operator=(Source&&) noexcept = default;

int Source::server_version() {
  return connection_->server_version();
}

void Source::require_schema(int known_version) {
  const int found = transact(*connection_, watch_, [&](pqxx::work& tx) {
    return tx.exec("SELECT coalesce(max(version), 0) FROM outbox.schema_migrations")[0][0]
        .as<int>();
  });
  if (found == known_version) return;
  const std::string seen = "schema \"outbox\" is at version " + std::to_string(found) +
                           ", this binary knows " + std::to_string(known_version);
  if (found < known_version)
    throw Failure(ErrorKind::kSchemaVersion, seen, "run `postrider migrate up` with this binary");
  throw Failure(
      ErrorKind::kSchemaVersion, seen,
      "run the newer postrider binary that migrated it. There is no way back to this one: "
      "`migrate down` would drop the slot and outbox.events");
}

bool Source::try_lock(const std::string& name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) {
    return sql::exec(tx, "SELECT pg_try_advisory_lock($1::int, hashtext($2))", kLockClass,
                     name)[0][0]
        .as<bool>();
  });
}

std::optional<LockHolder> Source::lock_holder(const std::string& name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) -> std::optional<LockHolder> {
    const auto rows = sql::exec(
        tx,
        "SELECT l.pid, coalesce(a.state, ''), coalesce(a.state_change::text, ''), "
        "coalesce(a.application_name, ''), "
        "coalesce(host(a.client_addr), 'local'), "
        "coalesce(extract(epoch FROM clock_timestamp() - a.state_change) * 1000, 0)::bigint, "
        "coalesce(a.usename, '?'), coalesce(a.usename = current_user, false) "
        "FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) "
        "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 "
        "AND l.classid = $1::int::oid AND l.objid = hashtext($2)::bigint::bit(32)::bigint::oid "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        kLockClass, name);
    if (rows.empty()) return std::nullopt;
    const auto& row = rows[0];
    return LockHolder{
        row[0].as<int>(),         row[1].as<std::string>(),
        row[2].as<std::string>(), std::chrono::milliseconds(row[5].as<std::int64_t>()),
        row[3].as<std::string>(), row[4].as<std::string>(),
        row[6].as<std::string>(), row[7].as<bool>()};
  });
}

int Source::backend_pid() {
  return transact(*connection_, watch_, [](pqxx::work& tx) {
    return tx.exec("SELECT pg_backend_pid()")[0][0].as<int>();
  });
}

void Source::heartbeat() {
  transact(*connection_, watch_, [](pqxx::work& tx) { tx.exec("SELECT 1"); });
}

bool Source::terminate(int pid) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) {
    return sql::exec(
               tx,
               "SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity "
               "WHERE pid = $1 AND usename = current_user",
               pid)[0][0]
        .as<bool>();
  });
}

int Source::end_stuck_commits() {
  return transact(*connection_, watch_, [](pqxx::work& tx) {
    return tx
        .exec(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = current_setting('application_name') "
            "AND usename = current_user AND datname = current_database() "
            "AND wait_event = 'SyncRep' AND pid <> pg_backend_pid()")[0][0]
        .as<int>();
  });
}

Checkpoint Source::open_session(const std::string& name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) {
    return read_row(sql::exec(tx, "SELECT * FROM outbox.relay_open($1)", name)[0]);
  });
}

std::optional<Checkpoint> Source::read_checkpoint(const std::string& name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) -> std::optional<Checkpoint> {
    const auto rows =
        sql::exec(tx, "SELECT * FROM outbox.checkpoint WHERE source = $1 AND initialised", name);
    if (rows.empty()) return std::nullopt;
    return read_row(rows[0]);
  });
}

SlotState Source::slot(const std::string& slot_name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) {
    SlotState state;
    const auto rows =
        sql::exec(tx,
                  "SELECT coalesce(plugin, '') AS plugin, two_phase, active_pid, restart_lsn, "
                  "confirmed_flush_lsn, coalesce(wal_status, '') AS wal_status, "
                  "coalesce(database, '') <> current_database() AS other_database, "
                  "coalesce(pg_current_wal_lsn() - restart_lsn, 0)::bigint AS retained, "
                  // A column only from PostgreSQL 17 on.
                  "coalesce((to_jsonb(s)->>'failover')::boolean, false) AS failover, "
                  // The newest id with these low 32 bits that was given out.
                  "(SELECT coalesce(newest - (newest - catalog_xmin::text::bigint) % 4294967296, "
                  "0) FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint) "
                  "AS x (newest)) AS passed_xid "
                  "FROM pg_replication_slots s WHERE slot_name = $1",
                  slot_name);
    if (rows.empty()) return state;
    const auto& row = rows[0];
    state.facts.exists = true;
    state.facts.plugin = get<std::string>(row, "plugin");
    state.facts.two_phase = get<bool>(row, "two_phase");
    state.facts.other_database = get<bool>(row, "other_database");
    state.failover = get<bool>(row, "failover");
    state.facts.confirmed = to_lsn(row["confirmed_flush_lsn"]);
    state.wal_status = get<std::string>(row, "wal_status");
    state.facts.lost = state.wal_status == "lost";
    state.restart_lsn = to_lsn(row["restart_lsn"]);
    state.retained_bytes = get<std::int64_t>(row, "retained");
    state.passed_xid = get<std::uint64_t>(row, "passed_xid");
    if (!row["active_pid"].is_null()) state.active_pid = get<int>(row, "active_pid");
    return state;
  });
}

bool Source::drop_slot(const std::string& slot_name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) {
    const bool used = sql::exec(tx,
                                "SELECT coalesce(bool_or(active), false) FROM pg_replication_slots "
                                "WHERE slot_name = $1",
                                slot_name)[0][0]
                          .as<bool>();
    if (used) return false;
    sql::exec(tx, "SELECT pg_drop_replication_slot($1)", slot_name);
    return true;
  });
}

std::optional<WalSender> Source::wal_sender(const std::string& slot_name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) -> std::optional<WalSender> {
    const auto rows =
        sql::exec(tx,
                  "SELECT a.pid, coalesce(a.application_name, '') AS application, "
                  "coalesce(host(a.client_addr), 'local') AS client, r.write_lsn "
                  "FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid "
                  "LEFT JOIN pg_stat_replication r ON r.pid = a.pid WHERE s.slot_name = $1",
                  slot_name);
    if (rows.empty()) return std::nullopt;
    const auto& row = rows[0];
    WalSender sender{get<int>(row, "pid"), get<std::string>(row, "application"),
                     get<std::string>(row, "client"), std::nullopt};
    if (!row["write_lsn"].is_null()) sender.received = to_lsn(row["write_lsn"]);
    return sender;
  });
}

PublicationState Source::publication(const std::string& name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) {
    PublicationState state;
    state.name = name;
    const auto rows = sql::exec(
        tx,
        "SELECT outbox.publication_version(p.pubname) AS version, CASE "
        "WHEN p.puballtables THEN 'is for all tables' "
        "WHEN NOT p.pubinsert THEN 'does not publish inserts' "
        "WHEN NOT p.pubviaroot THEN 'publishes partitions instead of their root table' "
        "WHEN r.oid IS NULL THEN 'does not hold outbox.events' "
        "WHEN r.prqual IS NOT NULL THEN 'has a row filter on outbox.events' "
        "WHEN r.prattrs IS NOT NULL THEN 'has a column list on outbox.events' "
        "ELSE '' END AS problem FROM pg_publication p LEFT JOIN pg_publication_rel r "
        "ON r.prpubid = p.oid AND r.prrelid = to_regclass('outbox.events') WHERE p.pubname = $1",
        name);
    if (rows.empty()) {
      state.problem = "does not exist";
      return state;
    }
    state.version = get<std::string>(rows[0], "version");
    state.problem = get<std::string>(rows[0], "problem");
    return state;
  });
}

std::string Source::capture_problem(const std::string& name) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) {
    const auto problem = sql::exec(tx, "SELECT outbox.capture_problem($1)", name)[0][0];
    return problem.is_null() ? std::string() : problem.as<std::string>();
  });
}

Lsn Source::insert_lsn() {
  return transact(*connection_, watch_, [](pqxx::work& tx) {
    return to_lsn(tx.exec("SELECT pg_current_wal_insert_lsn()")[0][0]);
  });
}

Lsn Source::flush_lsn() {
  return transact(*connection_, watch_, [](pqxx::work& tx) {
    return to_lsn(tx.exec("SELECT pg_current_wal_flush_lsn()")[0][0]);
  });
}

std::string Source::standbys_behind(Lsn lsn) {
  return transact(*connection_, watch_, [&](pqxx::work& tx) {
    return sql::exec(tx,
                     std::string("SELECT coalesce(string_agg(name, ', '), '') FROM ") +
                         sql::kStandbySlotNames +
                         " LEFT JOIN pg_replication_slots s ON s.slot_name = name "
                         "AND s.slot_type = 'physical' "
                         "WHERE s.restart_lsn IS NULL OR s.restart_lsn < $1::pg_lsn",
                     lsn.to_string())[0][0]
        .as<std::string>();
  });
}

void Source::bind_stream(const std::string& name, std::int64_t session,
                         const std::string& incarnation, std::uint64_t seq) {
  transact(*connection_, watch_, [&](pqxx::work& tx) {
    require_unfenced(sql::exec(tx, "SELECT outbox.relay_bind_stream($1, $2, $3, $4)", name, session,
                               incarnation, static_cast<std::int64_t>(seq)));
  });
}

void Source::note_foreign(const std::string& name, std::int64_t session,
                          std::optional<std::uint64_t> seq) {
  const std::string value = seq ? std::to_string(*seq) : "";
  transact(*connection_, watch_, [&](pqxx::work& tx) {
    require_unfenced(sql::exec(tx,
                               "SELECT outbox.relay_note_foreign($1, $2, nullif($3, '')::bigint)",
                               name, session, value));
  });
}

void Source::set_epochs(const std::string& name, std::int64_t session,
                        const std::string& epochs_json, bool wal_store) {
  transact(*connection_, watch_, [&](pqxx::work& tx) {
    require_unfenced(sql::exec(tx, "SELECT outbox.relay_set_epochs($1, $2, $3::jsonb, $4)", name,
                               session, epochs_json, wal_store));
  });
}

Lsn Source::checkpoint(const std::string& name, std::int64_t session, const Confirmable& place) {
  const Mark& mark = place.mark;
  transact(*connection_, watch_, [&](pqxx::work& tx) {
    const std::optional<std::string> part =
        mark.position.part ? std::optional(std::to_string(*mark.position.part)) : std::nullopt;
    require_unfenced(sql::exec(
        tx,
        "SELECT outbox.relay_checkpoint($1, $2, $3, $4, $5, $6::pg_lsn, $7, $8::int, $9, $10, $11, "
        "$12::pg_lsn)",
        name, session, static_cast<std::int64_t>(mark.seq), static_cast<std::int64_t>(mark.ordinal),
        static_cast<int>(mark.position.timeline), mark.position.commit_lsn.to_string(),
        static_cast<std::int64_t>(mark.position.index), part ? part->c_str() : nullptr,
        static_cast<std::int64_t>(mark.fingerprint.xid), mark.fingerprint.commit_time_us,
        static_cast<int>(mark.epoch), place.confirm_to.to_string()));
  });
  return flush_lsn();
}

std::string Source::maintain() {
  return transact(*connection_, watch_, [](pqxx::work& tx) {
    // What is lost of it is done again. A whole day of events may be read; nobody waits meanwhile.
    tx.exec(
        "SET LOCAL synchronous_commit = local; SET LOCAL statement_timeout = '10min'; "
        "SET LOCAL client_connection_check_interval = '1s'");
    return tx.exec("SELECT outbox.maintain()::text")[0][0].as<std::string>();
  });
}

}  // namespace postrider
