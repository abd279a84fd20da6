#include "daemon/check/check_source.h"

#include <set>
#include <string>

#include "base/postgres/sql.h"
#include "base/postgres/standby_slots.h"
#include "daemon/check/known_losses.h"
#include "daemon/check/standby_names.h"
#include "daemon/migrate/captured_tables.h"
#include "migrations/migrations.h"
#include "relay/postgres/source.h"

namespace postrider {
namespace {

constexpr int kOldestServer = 150000;

class SourceChecks {
 public:
  SourceChecks(const RelayOptions& options, Source& source, std::vector<CheckLine>& lines)
      : options_(options), source_(source), lines_(lines) {}

  OutboxLimits run() {
    server();
    role();
    if (!schema()) return {};
    publication();
    captures();
    slot();
    standbys();
    emit_message_rights();
    foreign_rights();
    return limits();
  }

 private:
  void add(CheckLevel level, std::string subject, std::string found, std::string remedy = {},
           bool session_decides = false) {
    lines_.push_back(
        {level, std::move(subject), std::move(found), std::move(remedy), session_decides});
  }
  std::string setting(const std::string& name) {
    pqxx::nontransaction tx(source_.connection());
    return sql::exec(tx, "SELECT current_setting($1)", name)[0][0].as<std::string>();
  }

  void server() {
    const int version = source_.server_version();
    add(version >= kOldestServer ? CheckLevel::kOk : CheckLevel::kFail, "PostgreSQL version",
        setting("server_version"), version >= kOldestServer ? "" : "15 or newer is needed");
    const auto wal_level = setting("wal_level");
    add(wal_level == "logical" ? CheckLevel::kOk : CheckLevel::kFail, "wal_level", wal_level,
        wal_level == "logical" ? ""
                               : "ALTER SYSTEM SET wal_level = logical, then restart PostgreSQL");
    const auto encoding = setting("server_encoding");
    add(encoding == "UTF8" ? CheckLevel::kOk : CheckLevel::kFail, "server_encoding", encoding,
        encoding == "UTF8" ? "" : "only databases in UTF8 can be carried");
    const auto names = setting("synchronous_standby_names");
    const std::string mine = "postrider_" + options_.source.name;
    const bool matches = matches_standby_names(names, mine);
    add(matches ? CheckLevel::kFail : CheckLevel::kOk, "synchronous_standby_names",
        names.empty() ? "(empty)" : names,
        matches ? "it matches the relay's application_name " + mine +
                      ": every commit would wait for the relay; name the physical standbys instead"
                : "");
    const auto keep = setting("max_slot_wal_keep_size");
    add(keep == "-1" ? CheckLevel::kWarn : CheckLevel::kOk, "max_slot_wal_keep_size", keep,
        keep == "-1"
            ? "without a bound a long outage of the relay fills the disk: set it to what the disk "
              "can spare (the slot is lost beyond it, and says so)"
            : "");
  }

  void role() {
    pqxx::nontransaction tx(source_.connection());
    const auto row = tx.exec(
        // Amazon RDS gives the right by membership in a role; nobody may have the attribute there.
        "SELECT current_user, rolreplication OR EXISTS (SELECT 1 FROM pg_roles g WHERE "
        "        g.rolname = 'rds_replication' AND pg_has_role(current_user, g.oid, 'MEMBER')), "
        "rolsuper, "
        "EXISTS (SELECT 1 FROM pg_roles g WHERE g.rolname = 'postrider_relay' "
        "        AND pg_has_role(current_user, g.oid, 'MEMBER')), "
        "EXISTS (SELECT 1 FROM pg_roles g WHERE g.rolname = 'postrider_relay' "
        "        AND pg_has_role(current_user, g.oid, 'USAGE')) "
        "FROM pg_roles WHERE rolname = current_user")[0];
    const auto name = row[0].as<std::string>();
    const bool replication = row[1].as<bool>() || row[2].as<bool>();
    add(replication ? CheckLevel::kOk : CheckLevel::kFail, "role " + name,
        replication ? "may replicate" : "lacks REPLICATION",
        replication ? "" : "ALTER ROLE " + name + " REPLICATION");
    const bool member = row[3].as<bool>();
    add(member ? CheckLevel::kOk : CheckLevel::kFail, "role " + name,
        member ? "is a member of postrider_relay" : "is not a member of postrider_relay",
        member ? "" : "GRANT postrider_relay TO " + name);
    if (member && !row[4].as<bool>())
      add(CheckLevel::kFail, "role " + name, "does not inherit the rights of postrider_relay",
          "ALTER ROLE " + name +
              " INHERIT; on PostgreSQL 16 and later also GRANT postrider_relay TO " + name +
              " WITH INHERIT TRUE");
    if (row[2].as<bool>())
      add(CheckLevel::kWarn, "role " + name, "is a superuser",
          "the relay needs LOGIN, REPLICATION and postrider_relay, no more");
  }

  bool schema() {
    try {
      source_.require_schema(latest_service_schema_version());
      add(CheckLevel::kOk, "schema outbox",
          "version " + std::to_string(latest_service_schema_version()));
    } catch (const Failure& failure) {
      add(CheckLevel::kFail, "schema outbox", failure.error().context, failure.error().remedy,
          true);
      return false;
    }
    const auto row = source_.read_checkpoint(options_.source.name);
    add(row ? CheckLevel::kOk : CheckLevel::kFail, "checkpoint row",
        row ? "durable up to ordinal " + std::to_string(row->mark.ordinal)
            : "source " + options_.source.name + " is not initialised",
        row ? "" : "run `postrider migrate up`", true);
    if (!row) return false;
    publication_version_ = row->publication_version;
    try {
      require_binding(*row, options_.source.slot, options_.source.publication);
    } catch (const Failure& failure) {
      add(CheckLevel::kFail, "checkpoint row", failure.error().context, failure.error().remedy,
          true);
    }
    return true;
  }

  static std::string tables_of(const CaptureRule& rule) {
    std::string text;
    for (const auto& pattern : rule.tables) text += (text.empty() ? "" : ", ") + pattern;
    return text;
  }
  // A captured table that was renamed, for one.
  void unmatched_tables(const std::vector<CaptureRule>& rules) {
    pqxx::nontransaction tx(source_.connection());
    for (const auto& table : published_without_rule(tx, rules, options_.source.publication))
      add(CheckLevel::kWarn, "published table " + table,
          "no [[capture]] names it: its changes are not carried",
          "if it was renamed, name it in [[capture]] and backfill it (docs/capture.md, \"An "
          "altered "
          "publication\"); else `postrider migrate up` takes it out of the publication");
  }
  void captures() {
    const auto rules = published_rules(options_.outboxes, options_.captures);
    unmatched_tables(rules);
    if (rules.empty()) return;
    if (const auto mended = mends_stale_publications(source_.server_version()); !mended.empty())
      add(CheckLevel::kWarn, "captured tables",
          "this PostgreSQL may leave out rows of transactions that are open while a publication is "
          "altered, as `postrider migrate up` does",
          "upgrade to " + std::string(mended) +
              " or newer, or run it while nobody writes these tables");
    const std::string publication = capture_publication(options_.source.publication);
    try {
      require_capture(publication, source_.capture_problem(options_.source.name));
      add(CheckLevel::kOk, "publication " + publication, "is as `postrider migrate up` made it");
    } catch (const Failure& failure) {
      add(CheckLevel::kFail, "publication " + publication, failure.error().context,
          failure.error().remedy, true);
    }
    pqxx::nontransaction tx(source_.connection());
    std::size_t good = 0;
    std::string partitioned;
    std::set<const CaptureRule*> matched;
    const auto tables = find_capturable_tables(tx, rules, options_.source.publication);
    for (const auto& table : tables) {
      matched.insert(table.rule);
      if (table.partitioned && table.published)
        partitioned += (partitioned.empty() ? "" : ", ") + table.name;
      // A table that a pattern came to match must not keep the relay from starting.
      const auto level = table.named || table.published ? CheckLevel::kFail : CheckLevel::kWarn;
      if (!table.problem.empty())
        add(level, "captured table " + table.name, table.problem, table.remedy);
      else if (!table.published)
        add(level, "captured table " + table.name, "is not published",
            "run `postrider migrate up`");
      else
        ++good;
    }
    add(good > 0 ? CheckLevel::kOk : CheckLevel::kWarn, "captured tables", std::to_string(good),
        good > 0 ? "" : "no table is carried");
    // PostgreSQL publishes none of it under the root; that it was done cannot be seen.
    if (!partitioned.empty())
      add(CheckLevel::kWarn, "partitioned tables", partitioned,
          "to truncate, drop, detach or attach one partition is not in the stream: `postrider "
          "backfill start TABLE --replace` after it (docs/capture.md, \"Partitions\")");
    for (const auto& rule : rules) {
      const bool outbox = &rule < rules.data() + options_.outboxes.size();
      const std::string section = outbox ? "[[outbox]] of " : "[[capture]] of ";
      if (!matched.contains(&rule))
        add(CheckLevel::kWarn, section + tables_of(rule), "matches no table",
            "correct capture.tables; a table belongs to the first [[capture]] that matches it");
      for (const auto& column : unknown_columns(rule, tables))
        add(outbox ? CheckLevel::kFail : CheckLevel::kWarn, section + tables_of(rule),
            "names column " + column + ", which none of its tables has",
            "correct the name: `postrider migrate up` refuses it");
      if (rule.subject.find("{key}") != std::string::npos ||
          (!outbox && rule.subject.find("{column:") != std::string::npos))
        add(CheckLevel::kWarn, outbox ? "outbox.subject" : "capture.subject", rule.subject,
            "nats-server keeps every distinct subject of a stream in memory: a value of many "
            "different ones belongs into the key, not into the subject");
    }
  }

  void publication() {
    const std::string subject = "publication " + options_.source.publication;
    try {
      require_publication(source_.publication(options_.source.publication), publication_version_);
    } catch (const Failure& failure) {
      return add(CheckLevel::kFail, subject, failure.error().context, failure.error().remedy, true);
    }
    pqxx::nontransaction tx(source_.connection());
    const auto rows =
        sql::exec(tx,
                  "SELECT pubinsert AND NOT pubupdate AND NOT pubdelete AND NOT pubtruncate "
                  "AND pubviaroot AND NOT puballtables FROM pg_publication WHERE pubname = $1",
                  options_.source.publication);
    const auto tables =
        sql::exec(tx,
                  "SELECT coalesce(string_agg(schemaname || '.' || tablename, ', '), '') "
                  "FROM pg_publication_tables WHERE pubname = $1",
                  options_.source.publication)[0][0]
            .as<std::string>();
    const bool good = rows[0][0].as<bool>() && tables == "outbox.events";
    add(good ? CheckLevel::kOk : CheckLevel::kFail, subject,
        "carries " + (tables.empty() ? "nothing" : tables) +
            (rows[0][0].as<bool>() ? ", inserts only, by the root table"
                                   : ", but not inserts only by the root"),
        good ? ""
             : "put it back: FOR TABLE outbox.events WITH (publish = 'insert', "
               "publish_via_partition_root = true)");
  }

  void slot() {
    const auto state = source_.slot(options_.source.slot);
    const std::string subject = "slot " + options_.source.slot;
    if (!state.facts.exists)
      return add(CheckLevel::kFail, subject, "does not exist",
                 "see docs/operating.md, \"slot lost\"", true);
    // Read after the slot: a relay at work writes the row before it moves the slot.
    const auto row = source_.read_checkpoint(options_.source.name);
    const bool good = !state.facts.lost && !state.facts.two_phase &&
                      state.facts.plugin == "pgoutput" && !state.facts.other_database && row &&
                      state.facts.confirmed <= row->confirm_to;
    add(good ? CheckLevel::kOk : CheckLevel::kFail, subject,
        "confirmed " + state.facts.confirmed.to_string() + ", wal_status " + state.wal_status +
            ", plugin " + state.facts.plugin + (state.facts.two_phase ? ", two_phase" : "") +
            ", retains " + std::to_string(state.retained_bytes / 1024) + " kB",
        good ? "" : "see docs/operating.md, \"slot lost\"", true);
  }

  // From PostgreSQL 17 on, standbys can keep a copy of the slot; before, a promoted one has none.
  void standbys() {
    if (source_.server_version() < sql::kFailoverSlots) return;
    const auto slot = source_.slot(options_.source.slot);
    if (!slot.facts.exists) return;
    const std::string subject = "slot " + options_.source.slot;
    if (!slot.failover)
      return add(CheckLevel::kWarn, subject,
                 "has failover off: a promoted standby will not have it",
                 "stop the relay, then: psql \"... dbname=... replication=database\" -c "
                 "'ALTER_REPLICATION_SLOT " +
                     options_.source.slot + " (FAILOVER true)'");
    pqxx::nontransaction tx(source_.connection());
    const auto row =
        tx.exec(std::string("SELECT current_setting('synchronized_standby_slots'), "
                            "coalesce((SELECT string_agg(slot_name, ', ' ORDER BY slot_name) FROM "
                            "pg_replication_slots "
                            "WHERE slot_type = 'physical' AND NOT temporary), ''), "
                            "coalesce((SELECT string_agg(name, ', ') FROM ") +
                sql::kStandbySlotNames +
                " WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots s "
                "WHERE s.slot_name = name AND s.active AND s.slot_type = 'physical')), '')")[0];
    const auto named = row[0].as<std::string>();
    const auto physical = row[1].as<std::string>();
    const auto away = row[2].as<std::string>();
    if (!away.empty())
      add(CheckLevel::kWarn, "synchronized_standby_slots", away + " is missing or not in use",
          "nothing is published until its standby is back: start it, or take it out of "
          "synchronized_standby_slots and reload");
    else if (named.empty() && !physical.empty())
      add(CheckLevel::kWarn, "synchronized_standby_slots", "(empty), with standbys at " + physical,
          "a standby promoted without events that are already published halts the relay: name the "
          "slots of those that may be promoted (docs/operating.md, \"Failover of PostgreSQL\")");
    else
      add(CheckLevel::kOk, "synchronized_standby_slots", named.empty() ? "(empty)" : named);
  }

  void emit_message_rights() {
    pqxx::nontransaction tx(source_.connection());
    // With their parameters, which PostgreSQL 17 changed, so that the remedy can be run as it
    // stands.
    const auto open =
        tx.exec(
              "SELECT coalesce(string_agg(p.oid::regprocedure::text, ', ' ORDER BY "
              "p.oid), '') FROM pg_proc p WHERE p.proname = 'pg_logical_emit_message' "
              "AND p.pronamespace = 'pg_catalog'::regnamespace AND (p.proacl IS NULL OR EXISTS "
              "(SELECT 1 FROM aclexplode(p.proacl) a WHERE a.grantee = 0 AND "
              "a.privilege_type = 'EXECUTE'))")[0][0]
            .as<std::string>();
    const bool open_to_all = !open.empty();
    const bool matters = (options_.wal_store || !options_.captures.empty()) && open_to_all;
    const auto level = !matters                      ? CheckLevel::kOk
                       : options_.accept_public_emit ? CheckLevel::kWarn
                                                     : CheckLevel::kFail;
    add(level, "pg_logical_emit_message",
        open_to_all ? (matters ? "any role may forge events of the wal store, and backfilled rows"
                               : "open to any role; the wal store is off, and no table captured")
                    : "not open to any role",
        matters ? "as superuser: REVOKE EXECUTE ON FUNCTION " + open +
                      " FROM PUBLIC; and GRANT it to the outbox's owner; or accept the risk with "
                      "relay.accept_public_emit = true"
                : "");
  }

  // ALTER DEFAULT PRIVILEGES of the owner's gives every new table and function away. Reading is
  // left to whoever grants it.
  void foreign_rights() {
    pqxx::nontransaction tx(source_.connection());
    const auto row = tx.exec(R"(
WITH object AS (
  SELECT 'TABLE ' || c.oid::regclass AS what, c.relacl AS acl, c.relowner AS owner,
         ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES', 'USAGE'] AS rights
  FROM pg_catalog.pg_class c
  WHERE c.relnamespace = 'outbox'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
  UNION ALL
  SELECT 'FUNCTION ' || p.oid::regprocedure, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner, ARRAY['EXECUTE']
  FROM pg_catalog.pg_proc p
  WHERE p.pronamespace = 'outbox'::regnamespace AND p.proname NOT IN ('emit', 'emit_bytes', 'token', 'maintain'))
SELECT count(*), min(format('REVOKE %s ON %s FROM %s', a.privilege_type, replace(o.what, 'TABLE', CASE WHEN a.privilege_type = 'USAGE' THEN 'SEQUENCE' ELSE 'TABLE' END),
                            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END))
FROM object o, aclexplode(o.acl) a
WHERE a.grantee <> o.owner AND a.privilege_type = ANY (o.rights)
  AND NOT (o.what LIKE 'FUNCTION %' AND pg_get_userbyid(a.grantee) IN ('postrider_relay', 'postrider_writer')))")[0];
    const auto count = row[0].as<int>();
    add(count == 0 ? CheckLevel::kOk : CheckLevel::kWarn, "rights in schema outbox",
        count == 0 ? "none but those of the roles that it has"
                   : std::to_string(count) + " that let others forge events or the checkpoint",
        count == 0 ? ""
                   : row[1].as<std::string>() +
                         ", and so on; then look for ALTER DEFAULT PRIVILEGES of the outbox's "
                         "owner (\\ddp), which gives new ones away, too");
  }

  OutboxLimits limits() {
    pqxx::nontransaction tx(source_.connection());
    const auto rows = tx.exec("SELECT max_payload_bytes::bigint FROM outbox.settings");
    if (rows.empty()) return {};
    return {rows[0][0].as<std::int64_t>()};
  }

  const RelayOptions& options_;
  Source& source_;
  std::vector<CheckLine>& lines_;
  std::string publication_version_;
};

}  // namespace

OutboxLimits check_source(const RelayOptions& options, std::vector<CheckLine>& lines) {
  try {
    Source source(options.source.conninfo, "postrider check " + options.source.name);
    return SourceChecks(options, source, lines).run();
  } catch (const Failure& failure) {
    lines.push_back({CheckLevel::kUnknown, "PostgreSQL", failure.error().context,
                     failure.error().remedy.empty() ? "start it, or correct source.conninfo"
                                                    : failure.error().remedy,
                     true, info(failure.error().kind).disposition == Disposition::kRetry});
  } catch (const pqxx::broken_connection& failure) {
    lines.push_back({CheckLevel::kUnknown, "PostgreSQL", failure.what(),
                     "start it, or correct source.conninfo", true, true});
  } catch (const pqxx::failure& failure) {
    lines.push_back({CheckLevel::kUnknown, "PostgreSQL", failure.what(),
                     "see the message; the relay's role needs what docs/operating.md lists", true});
  }
  return {};
}

}  // namespace postrider
