#include "daemon/migrate/initialise.h"

#include <ostream>
#include <vector>

#include "base/error.h"
#include "base/postgres/conninfo.h"
#include "base/postgres/standby_slots.h"
#include "daemon/migrate/capture_publication.h"
#include "postrider/lsn.h"

namespace postrider {
namespace {

// Slots are the cluster's, not the database's: a name alone says nothing about whose it is.
bool slot_exists(pqxx::transaction_base& tx, const std::string& slot) {
  return !sql::exec(tx,
                    "SELECT 1 FROM pg_replication_slots WHERE slot_name = $1 "
                    "AND plugin = 'pgoutput' AND database = current_database()",
                    slot)
              .empty();
}

bool has_slot(pqxx::connection& owner, const std::string& slot) {
  pqxx::nontransaction tx(owner);
  return slot_exists(tx, slot);
}

[[noreturn]] void refuse_slot(const std::string& slot, const std::string& why) {
  throw Failure(ErrorKind::kConfiguration, "slot " + slot + " exists and " + why,
                "set source.slot to a name of its own; only where nobody needs that slot any more: "
                "SELECT pg_drop_replication_slot('" +
                    slot + "')");
}

// A checkpoint row travels with a dump. Here no slot stands behind it, though emit accepts events
// for it, and the WAL places of both clusters mean nothing to each other.
void require_this_cluster(pqxx::connection& owner) {
  pqxx::nontransaction tx(owner);
  const auto others = tx.exec(
      "SELECT source FROM outbox.checkpoint WHERE initialised AND system_id <> "
      "(SELECT system_identifier::text FROM pg_control_system()) LIMIT 1");
  if (!others.empty())
    throw Failure(ErrorKind::kWrongSystem,
                  "source " + others[0][0].as<std::string>() +
                      " was initialised in another cluster: this one comes from its dump, or from "
                      "pg_upgrade",
                  "docs/operating.md, \"wrong system\"");
}

// Refuses a slot name that somebody else may be using.
void require_own_slot(pqxx::transaction_base& tx, const MigrateOptions& options) {
  const auto others =
      sql::exec(tx, "SELECT source FROM outbox.checkpoint WHERE slot = $1 AND source <> $2 LIMIT 1",
                options.slot, options.source);
  if (!others.empty())
    throw Failure(ErrorKind::kConfiguration,
                  "slot " + options.slot + " belongs to source " + others[0][0].as<std::string>(),
                  "set source.slot to a name of its own: one source, one slot");
  const auto rows =
      sql::exec(tx,
                "SELECT coalesce(plugin, 'none: it is physical'), coalesce(database, ''), active, "
                "coalesce(database, '') = current_database() AND plugin = 'pgoutput' "
                "FROM pg_replication_slots WHERE slot_name = $1",
                options.slot);
  if (rows.empty()) return;
  if (!rows[0][3].as<bool>())
    refuse_slot(options.slot, "is not this database's own (plugin " + rows[0][0].as<std::string>() +
                                  ", database " + rows[0][1].as<std::string>() + ")");
  if (rows[0][2].as<bool>()) refuse_slot(options.slot, "is in use, though not by this source");
}

void make_publication(pqxx::connection& owner, const MigrateOptions& options, std::ostream& out) {
  pqxx::work tx(owner);
  if (!sql::exec(tx, "SELECT 1 FROM pg_publication WHERE pubname = $1", options.publication)
           .empty())
    return;
  tx.exec("CREATE PUBLICATION " + tx.quote_name(options.publication) +
          " FOR TABLE outbox.events WITH (publish = 'insert', publish_via_partition_root = true)");
  tx.commit();
  out << "created   publication " << options.publication << '\n';
}

// The row is written before its slot is made: one that exists before any row names it is not ours.
void require_no_slot(pqxx::transaction_base& tx, const MigrateOptions& options) {
  require_own_slot(tx, options);
  if (slot_exists(tx, options.slot))
    refuse_slot(options.slot, "was not made for source " + options.source);
}

// True when the source is initialised already.
bool make_row(pqxx::connection& owner, const MigrateOptions& options) {
  pqxx::work tx(owner);
  const bool made =
      !sql::exec(tx,
                 "INSERT INTO outbox.checkpoint (source, slot, publication) VALUES ($1, $2, $3) "
                 "ON CONFLICT (source) DO NOTHING RETURNING 1",
                 options.source, options.slot, options.publication)
           .empty();
  const auto row = sql::exec(
      tx, "SELECT initialised, slot FROM outbox.checkpoint WHERE source = $1", options.source)[0];
  const bool initialised = row[0].as<bool>();
  if (initialised && row[1].as<std::string>() != options.slot)
    throw Failure(ErrorKind::kConfiguration,
                  "source " + options.source + " was initialised with slot " +
                      row[1].as<std::string>() + ", the configuration names " + options.slot,
                  "set source.slot to that name");
  if (made || (!initialised && row[1].as<std::string>() != options.slot))
    require_no_slot(tx, options);
  if (!initialised)
    sql::exec(tx, "UPDATE outbox.checkpoint SET slot = $2, publication = $3 WHERE source = $1",
              options.source, options.slot, options.publication);
  tx.commit();
  return initialised;
}

struct NewSlot {
  std::string lsn;
  std::string system_id;
  int timeline = 0;
};

// The slot is made by the role that will use it: only that one needs REPLICATION.
NewSlot make_slot(pqxx::connection& owner, const MigrateOptions& options) {
  {
    pqxx::nontransaction tx(owner);
    require_own_slot(tx, options);
  }
  pqxx::connection relay(with_defaults(options.relay_conninfo, liveness_defaults()));
  pqxx::nontransaction tx(relay);
  tx.exec("SET statement_timeout = '" + std::to_string(kSlotTimeout.count()) + "s'");
  // No initialised row vouches for this database's slot of this name: an earlier attempt left it.
  // Nothing was emitted.
  if (slot_exists(tx, options.slot))
    sql::exec(tx, "SELECT pg_drop_replication_slot($1)", options.slot);
  try {
    sql::exec(tx,
              std::string("SELECT pg_create_logical_replication_slot($1, 'pgoutput'") +
                  (relay.server_version() >= sql::kFailoverSlots ? ", failover => true)" : ")"),
              options.slot);
  } catch (const pqxx::sql_error& e) {
    const std::string state = sql::sqlstate(e);
    if (state != "57014") throw;
    throw Failure(
        ErrorKind::kPostgresUnavailable,
        "making slot " + options.slot + " waited " + std::to_string(kSlotTimeout.count()) +
            " s for transactions that are open",
        "end them (SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start; also "
        "SELECT * FROM pg_prepared_xacts) and migrate again");
  }
  const auto row =
      sql::exec(tx,
                "SELECT confirmed_flush_lsn, (SELECT system_identifier FROM pg_control_system()), "
                "(SELECT timeline_id FROM pg_control_checkpoint()) "
                "FROM pg_replication_slots WHERE slot_name = $1",
                options.slot)[0];
  return {row[0].as<std::string>(), row[1].as<std::string>(), row[2].as<int>()};
}

// Those that exist, of every source that has a checkpoint row here: the configuration may name
// another one than the database was initialised with. The row is written before its slot is made,
// so a slot that no row names is somebody else's, and so is one of another database.
struct OwnSlot {
  std::string name;
  bool active = false;
};
std::vector<OwnSlot> slots_of_sources(pqxx::connection& owner) {
  pqxx::nontransaction tx(owner);
  if (tx.exec("SELECT to_regclass('outbox.checkpoint')")[0][0].is_null()) return {};
  std::vector<OwnSlot> slots;
  for (const auto& row :
       tx.exec("SELECT slot_name, active FROM pg_replication_slots WHERE plugin = 'pgoutput' "
               "AND database = current_database() "
               "AND slot_name IN (SELECT slot FROM outbox.checkpoint) ORDER BY 1"))
    slots.push_back({row[0].as<std::string>(), row[1].as<bool>()});
  return slots;
}

// From here on emit refuses, whatever becomes of the rest.
void close_sources(pqxx::connection& owner) {
  pqxx::work tx(owner);
  if (!tx.exec("SELECT to_regclass('outbox.checkpoint')")[0][0].is_null())
    tx.exec("UPDATE outbox.checkpoint SET initialised = false WHERE initialised");
  tx.commit();
}

void close_emit_message(pqxx::connection& owner, std::ostream& out) {
  // Only a superuser may; `postrider check` says so where it matters.
  try {
    pqxx::work tx(owner);
    tx.exec(
        "DO $$ DECLARE f regprocedure; BEGIN "
        "FOR f IN SELECT oid::regprocedure FROM pg_catalog.pg_proc WHERE proname = "
        "'pg_logical_emit_message' "
        "AND pronamespace = 'pg_catalog'::regnamespace AND pg_has_role(current_user, proowner, "
        "'USAGE') LOOP "
        "EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f); "
        "EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', f, current_user); END LOOP; END $$");
    tx.commit();
  } catch (const pqxx::sql_error& e) {
    out << "note      pg_logical_emit_message stays open to PUBLIC: " << e.what() << '\n';
  }
}

}  // namespace

void initialise(pqxx::connection& owner, const MigrateOptions& options, std::ostream& out) {
  require_this_cluster(owner);
  make_publication(owner, options, out);
  make_capture_publication(owner, options, out);
  close_emit_message(owner, out);
  const bool initialised = make_row(owner, options);
  publish_captured_tables(owner, options, out);
  if (initialised) {
    if (!has_slot(owner, options.slot))
      throw Failure(
          ErrorKind::kSlotMissing,
          "source " + options.source + " is initialised, but its slot " + options.slot + " is gone",
          "it is not made again \"at now\": events since would be lost; see docs/operating.md, "
          "\"slot lost\"");
    out << "up to date: source " << options.source << ", slot " << options.slot << '\n';
    return;
  }
  const NewSlot slot = make_slot(owner, options);
  pqxx::work tx(owner);
  sql::exec(
      tx,
      "UPDATE outbox.checkpoint SET initialised = true, system_id = $2, timeline = $3, "
      "confirm_to = $4::pg_lsn, publication_version = outbox.publication_version(publication), "
      "updated_at = now() WHERE source = $1",
      options.source, slot.system_id, slot.timeline, slot.lsn);
  tx.commit();
  out << "created   slot " << options.slot << " at " << slot.lsn << '\n';
  out << "ready: source " << options.source << '\n';
}

void remove_slots(pqxx::connection& owner, const MigrateOptions& options, bool drop_slot,
                  std::ostream& out) {
  const auto slots = slots_of_sources(owner);
  if (!slots.empty() && !drop_slot)
    throw Failure(
        ErrorKind::kConfiguration, "slot " + slots.front().name + " exists",
        "it would take what is not carried yet, and every source of this database with all rows of "
        "outbox.events: stop the services, wait until `postrider status` counts nothing that "
        "waits, stop relay and standbys, then run `postrider migrate down --drop-slot` "
        "(docs/operating.md, \"Taking a source away\")");
  for (const auto& slot : slots)
    if (slot.active)
      throw Failure(ErrorKind::kConfiguration, "slot " + slot.name + " is in use",
                    "stop relay and standbys first");
  close_sources(owner);
  if (!slots.empty()) {
    pqxx::connection relay(with_defaults(options.relay_conninfo, liveness_defaults()));
    pqxx::nontransaction tx(relay);
    for (const auto& slot : slots) {
      sql::exec(tx, "SELECT pg_drop_replication_slot($1)", slot.name);
      out << "dropped   slot " << slot.name << '\n';
    }
  }
  pqxx::work tx(owner);
  for (const auto& publication : {options.publication, capture_publication(options.publication)})
    tx.exec("DROP PUBLICATION IF EXISTS " + tx.quote_name(publication));
  tx.commit();
  out << "dropped   publications " << options.publication << " and "
      << capture_publication(options.publication) << '\n';
}

bool print_initialisation(pqxx::connection& owner, const MigrateOptions& options,
                          std::ostream& out) {
  pqxx::nontransaction tx(owner);
  const bool publication =
      !sql::exec(tx, "SELECT 1 FROM pg_publication WHERE pubname = $1", options.publication)
           .empty();
  const bool slot = slot_exists(tx, options.slot);
  bool initialised = false;
  if (!tx.exec("SELECT to_regclass('outbox.checkpoint')")[0][0].is_null()) {
    const auto rows = sql::exec(tx, "SELECT initialised FROM outbox.checkpoint WHERE source = $1",
                                options.source);
    initialised = !rows.empty() && rows[0][0].as<bool>();
  }
  out << (publication ? "present   " : "MISSING   ") << "publication " << options.publication
      << '\n';
  const bool capture = print_capture_publication(tx, options, out);
  out << (slot ? "present   " : "MISSING   ") << "slot " << options.slot << '\n'
      << (initialised ? "ready     " : "NOT READY ") << "source " << options.source << '\n';
  return publication && capture && slot && initialised;
}

}  // namespace postrider
