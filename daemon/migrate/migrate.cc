#include "daemon/migrate/migrate.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <ostream>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/postgres/conninfo.h"
#include "base/postgres/sql.h"
#include "daemon/migrate/initialise.h"
#include "migrations/migrations.h"

namespace postrider {
namespace {

constexpr int kMigrateLock = 0x706d;  // "pm"; two-part key with 0
// How long a second migrate waits for the first, and then for a table's lock.
constexpr std::chrono::seconds kTurnTimeout{120};
constexpr std::chrono::seconds kLockTimeout{30};
// Whoever comes behind us in the queue for a table waits as long as we do, every emit most of all:
// a file asks for its locks a moment at a time.
constexpr std::chrono::seconds kLockMoment{1};
// The first may spend that long on its slot alone: a second that gives up before it has failed
// although nothing is wrong.
static_assert(kTurnTimeout > kSlotTimeout + kLockTimeout);

// One set of files and how to recognise its schema in a database.
struct Schema {
  std::span<const Migration> files;
  std::string name;
  std::string first_table;  // there as soon as the first file was applied
  std::string newest;       // condition in SQL: true only when the last file was applied, too
  std::string rights;       // what the migrating role needs
};

Schema service_schema() {
  return {service_migrations(), "outbox", "outbox.events",
          "to_regprocedure('outbox.is_droppable(text)') IS NOT NULL",
          "migrate as the role that shall own the outbox: it needs CREATE on the database, and "
          "CREATEROLE or the two group roles made before"};
}
Schema readmodel_schema() {
  return {readmodel_migrations(), "postrider", "postrider.cursor",
          // It makes nothing new: what its function is told by.
          "EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = to_regnamespace('postrider') "
          "AND proname = 'to_events' AND prosrc LIKE '%is_uuid%')",
          "migrate as the role that shall own schema postrider: it needs CREATE on the database, "
          "and CREATEROLE or the two group roles made before"};
}

struct Applied {
  std::string name;
  std::string checksum;
};

// One connection of the owner that holds the migration lock for as long as it lives.
class Migrator {
 public:
  Migrator(const std::string& conninfo, Schema schema)
      : schema_(std::move(schema)), connection_(with_defaults(conninfo, liveness_defaults())) {
    sql::forbid_reconnecting(connection_);
    pqxx::nontransaction tx(connection_);
    tx.exec("SET client_min_messages = warning");
    set_lock_timeout(tx, kTurnTimeout);
    tx.exec("SELECT pg_advisory_lock(" + std::to_string(kMigrateLock) + ", 0)");
    set_lock_timeout(tx, kLockTimeout);
    read_applied(tx);
  }

  [[nodiscard]] pqxx::connection& connection() { return connection_; }
  [[nodiscard]] const std::map<int, Applied>& applied() const { return applied_; }
  [[nodiscard]] bool has_schema() const { return has_schema_; }

  // Refuses a database that this binary does not understand.
  void require_known() const {
    const auto known = schema_.files;
    for (const auto& [version, row] : applied_) {
      const auto found = std::ranges::find(known, version, &Migration::version);
      if (found == known.end())
        throw Failure(ErrorKind::kSchemaVersion,
                      "the database has migration " + std::to_string(version) + " (" + row.name +
                          "), which this binary does not know",
                      "use the newer postrider binary that applied it");
      if (found->checksum != row.checksum)
        throw Failure(ErrorKind::kSchemaVersion,
                      "migration " + std::to_string(version) + " (" + row.name +
                          ") was applied with another content than this binary's",
                      "use the binary that applied it; applied files never change");
    }
  }

  void apply(const Migration& migration) {
    patiently(migration, [&](pqxx::work& tx) {
      tx.exec(std::string(migration.up));
      record(tx, migration);
    });
    applied_[migration.version] = {std::string(migration.name), std::string(migration.checksum)};
  }
  void adopt(const Migration& migration) {
    pqxx::work tx(connection_);
    record(tx, migration);
    tx.commit();
    applied_[migration.version] = {std::string(migration.name), std::string(migration.checksum)};
  }
  void revert(const Migration& migration) {
    patiently(migration, [&](pqxx::work& tx) {
      if (migration.version > 1)
        sql::exec(tx, "DELETE FROM " + table() + " WHERE version = $1", migration.version);
      tx.exec(std::string(migration.down));
    });
    applied_.erase(migration.version);
  }

 private:
  // Runs `body` in a transaction; where a lock is busy, again, for a while.
  template <class Body>
  void patiently(const Migration& migration, Body body) {
    const auto deadline = std::chrono::steady_clock::now() + kLockTimeout;
    while (true) {
      try {
        pqxx::work tx(connection_);
        tx.exec("SET LOCAL lock_timeout = '" + std::to_string(kLockMoment.count()) + "s'");
        body(tx);
        tx.commit();
        return;
      } catch (const pqxx::sql_error& e) {
        if (sql::sqlstate(e) != "55P03") throw;
        if (std::chrono::steady_clock::now() < deadline) {
          std::this_thread::sleep_for(kLockMoment);  // nothing tells when a lock is free
          continue;
        }
        throw Failure(ErrorKind::kPostgresUnavailable,
                      "migration " + std::to_string(migration.version) +
                          " needs a lock that a transaction holds: " + e.what(),
                      "run it again once such transactions have ended: SELECT pid, xact_start, "
                      "query FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE relation IN "
                      "(SELECT oid FROM pg_class WHERE relnamespace = '" +
                          schema_.name + "'::regnamespace); also SELECT * FROM pg_prepared_xacts");
      }
    }
  }
  static void set_lock_timeout(pqxx::nontransaction& tx, std::chrono::seconds timeout) {
    tx.exec("SET lock_timeout = '" + std::to_string(timeout.count()) + "s'");
  }
  void read_applied(pqxx::nontransaction& tx) {
    has_schema_ = !tx.exec("SELECT to_regclass('" + schema_.first_table + "')")[0][0].is_null();
    if (tx.exec("SELECT to_regclass('" + table() + "')")[0][0].is_null()) return;
    for (const auto& row : tx.exec("SELECT version, name, checksum FROM " + table()))
      applied_[row[0].as<int>()] = {row[1].as<std::string>(), row[2].as<std::string>()};
  }
  [[nodiscard]] std::string table() const { return schema_.name + ".schema_migrations"; }
  void record(pqxx::work& tx, const Migration& migration) const {
    sql::exec(tx, "INSERT INTO " + table() + " (version, name, checksum) VALUES ($1, $2, $3)",
              migration.version, std::string(migration.name), std::string(migration.checksum));
  }

  Schema schema_;
  pqxx::connection connection_;
  std::map<int, Applied> applied_;
  bool has_schema_ = false;
};

// Translates what libpqxx throws, once.
template <class Body>
auto translated(const Schema& schema, Body body) {
  try {
    return body();
  } catch (const pqxx::sql_error& e) {
    const bool denied = sql::sqlstate(e) == "42501";
    throw Failure(denied ? ErrorKind::kNoPermission : ErrorKind::kPostgresUnavailable, e.what(),
                  denied ? schema.rights : "");
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what(), connection_remedy(e.what()));
  }
}

void apply_missing(Migrator& migrator, const Schema& schema, std::ostream& out) {
  migrator.require_known();
  if (migrator.has_schema() && migrator.applied().empty())
    throw Failure(ErrorKind::kSchemaVersion,
                  "schema " + schema.name + " exists, but no migration is recorded",
                  "if another tool applied these files, run `postrider migrate baseline`");
  for (const auto& migration : schema.files) {
    if (migrator.applied().contains(migration.version)) continue;
    migrator.apply(migration);
    out << "applied   " << migration.version << ' ' << migration.name << '\n';
  }
}

void adopt_all(Migrator& migrator, const Schema& schema, std::ostream& out) {
  migrator.require_known();
  if (!migrator.has_schema())
    throw Failure(
        ErrorKind::kSchemaVersion, "there is no schema " + schema.name + " to adopt",
        "run `postrider migrate up`, or apply the files of `postrider migrate --print` first");
  {
    pqxx::nontransaction tx(migrator.connection());
    if (!tx.exec("SELECT " + schema.newest)[0][0].as<bool>())
      throw Failure(ErrorKind::kSchemaVersion,
                    "only a part of the files was applied: what file " +
                        std::to_string(schema.files.back().version) + " (" +
                        std::string(schema.files.back().name) + ") makes does not exist",
                    "apply all files of `postrider migrate --print`");
  }
  for (const auto& migration : schema.files) {
    if (migrator.applied().contains(migration.version)) continue;
    migrator.adopt(migration);
    out << "adopted   " << migration.version << ' ' << migration.name << '\n';
  }
}

void revert_all(Migrator& migrator, const Schema& schema, std::ostream& out) {
  for (auto migration = schema.files.rbegin(); migration != schema.files.rend(); ++migration) {
    if (!migrator.applied().contains(migration->version)) continue;
    migrator.revert(*migration);
    out << "reverted  " << migration->version << ' ' << migration->name << '\n';
  }
}

bool print_applied(const Migrator& migrator, const Schema& schema, std::ostream& out) {
  bool complete = true;
  for (const auto& migration : schema.files) {
    const auto row = migrator.applied().find(migration.version);
    const bool applied = row != migrator.applied().end();
    const bool changed = applied && row->second.checksum != migration.checksum;
    out << (changed   ? "CHANGED   "
            : applied ? "applied   "
                      : "pending   ")
        << migration.version << ' ' << migration.name << '\n';
    complete = complete && applied && !changed;
  }
  for (const auto& [version, row] : migrator.applied())
    if (version > schema.files.back().version) {
      out << "UNKNOWN   " << version << ' ' << row.name << '\n';
      complete = false;
    }
  return complete;
}

void print_files(const Schema& schema, std::ostream& out) {
  for (const auto& migration : schema.files)
    out << "-- " << migration.version << ' ' << migration.name << '\n' << migration.up << '\n';
}

}  // namespace

void migrate_up(const MigrateOptions& options, std::ostream& out) {
  const Schema schema = service_schema();
  translated(schema, [&] {
    Migrator migrator(options.owner_conninfo, schema);
    apply_missing(migrator, schema, out);
    initialise(migrator.connection(), options, out);
  });
}

void migrate_baseline(const MigrateOptions& options, std::ostream& out) {
  const Schema schema = service_schema();
  translated(schema, [&] {
    Migrator migrator(options.owner_conninfo, schema);
    adopt_all(migrator, schema, out);
    initialise(migrator.connection(), options, out);
  });
}

void migrate_down(const MigrateOptions& options, bool drop_slot, std::ostream& out) {
  const Schema schema = service_schema();
  translated(schema, [&] {
    Migrator migrator(options.owner_conninfo, schema);
    migrator.require_known();
    remove_slots(migrator.connection(), options, drop_slot, out);
    revert_all(migrator, schema, out);
  });
}

bool migrate_status(const MigrateOptions& options, std::ostream& out) {
  const Schema schema = service_schema();
  return translated(schema, [&] {
    Migrator migrator(options.owner_conninfo, schema);
    const bool complete = print_applied(migrator, schema, out);
    return print_initialisation(migrator.connection(), options, out) && complete;
  });
}

void migrate_print(std::ostream& out) {
  print_files(service_schema(), out);
}

void migrate_target_up(const std::string& owner_conninfo, std::ostream& out) {
  const Schema schema = readmodel_schema();
  translated(schema, [&] {
    Migrator migrator(owner_conninfo, schema);
    apply_missing(migrator, schema, out);
  });
}

void migrate_target_baseline(const std::string& owner_conninfo, std::ostream& out) {
  const Schema schema = readmodel_schema();
  translated(schema, [&] {
    Migrator migrator(owner_conninfo, schema);
    adopt_all(migrator, schema, out);
  });
}

void migrate_target_down(const std::string& owner_conninfo, std::ostream& out) {
  const Schema schema = readmodel_schema();
  translated(schema, [&] {
    Migrator migrator(owner_conninfo, schema);
    migrator.require_known();
    revert_all(migrator, schema, out);
  });
}

bool migrate_target_status(const std::string& owner_conninfo, std::ostream& out) {
  const Schema schema = readmodel_schema();
  return translated(schema, [&] {
    Migrator migrator(owner_conninfo, schema);
    return print_applied(migrator, schema, out);
  });
}

void migrate_target_print(std::ostream& out) {
  print_files(readmodel_schema(), out);
}

}  // namespace postrider
