#include "daemon/migrate/migrate.h"

#include <algorithm>
#include <map>
#include <ostream>
#include <vector>

#include "daemon/migrate/initialise.h"
#include "migrations/migrations.h"
#include "relay/error.h"
#include "relay/postgres/conninfo.h"
#include "relay/postgres/sql.h"

namespace postrider {
namespace {

constexpr int kMigrateLock = 0x706d;  // "pm"; two-part key with 0

struct Applied {
  std::string name;
  std::string checksum;
};

// One connection of the owner that holds the migration lock for as long as it lives.
class Migrator {
 public:
  explicit Migrator(const std::string& conninfo)
      : connection_(with_defaults(conninfo, liveness_defaults())) {
    sql::forbid_reconnecting(connection_);
    pqxx::nontransaction tx(connection_);
    tx.exec("SET client_min_messages = warning; SET lock_timeout = '30s'");
    tx.exec("SELECT pg_advisory_lock(" + std::to_string(kMigrateLock) + ", 0)");
    read_applied(tx);
  }

  [[nodiscard]] pqxx::connection& connection() { return connection_; }
  [[nodiscard]] const std::map<int, Applied>& applied() const { return applied_; }
  [[nodiscard]] bool has_schema() const { return has_schema_; }

  // Refuses a database that this binary does not understand.
  void require_known() const {
    const auto known = service_migrations();
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
    pqxx::work tx(connection_);
    tx.exec(std::string(migration.up));
    record(tx, migration);
    tx.commit();
    applied_[migration.version] = {std::string(migration.name), std::string(migration.checksum)};
  }
  void adopt(const Migration& migration) {
    pqxx::work tx(connection_);
    record(tx, migration);
    tx.commit();
    applied_[migration.version] = {std::string(migration.name), std::string(migration.checksum)};
  }
  void revert(const Migration& migration) {
    pqxx::work tx(connection_);
    if (migration.version > 1)
      sql::exec(tx, "DELETE FROM outbox.schema_migrations WHERE version = $1", migration.version);
    tx.exec(std::string(migration.down));
    tx.commit();
    applied_.erase(migration.version);
  }

 private:
  void read_applied(pqxx::nontransaction& tx) {
    has_schema_ = !tx.exec("SELECT to_regclass('outbox.events')")[0][0].is_null();
    if (tx.exec("SELECT to_regclass('outbox.schema_migrations')")[0][0].is_null()) return;
    for (const auto& row : tx.exec("SELECT version, name, checksum FROM outbox.schema_migrations"))
      applied_[row[0].as<int>()] = {row[1].as<std::string>(), row[2].as<std::string>()};
  }
  static void record(pqxx::work& tx, const Migration& migration) {
    sql::exec(tx,
              "INSERT INTO outbox.schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
              migration.version, std::string(migration.name), std::string(migration.checksum));
  }

  pqxx::connection connection_;
  std::map<int, Applied> applied_;
  bool has_schema_ = false;
};

// Translates what libpqxx throws, once.
template <class Body>
auto translated(Body body) {
  try {
    return body();
  } catch (const pqxx::sql_error& e) {
    const std::string state = sql::sqlstate(e);
    throw Failure(
        state == "42501" ? ErrorKind::kNoPermission : ErrorKind::kPostgresUnavailable, e.what(),
        state == "42501" ? "migrate as the role that shall own the outbox: it needs CREATE on "
                           "the database, and CREATEROLE or the two group roles made before"
                         : "");
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what(), connection_remedy(e.what()));
  }
}

}  // namespace

void migrate_up(const MigrateOptions& options, std::ostream& out) {
  translated([&] {
    Migrator migrator(options.owner_conninfo);
    migrator.require_known();
    if (migrator.has_schema() && migrator.applied().empty())
      throw Failure(ErrorKind::kSchemaVersion, "schema outbox exists, but no migration is recorded",
                    "if another tool applied these files, run `postrider migrate baseline`");
    for (const auto& migration : service_migrations()) {
      if (migrator.applied().contains(migration.version)) continue;
      migrator.apply(migration);
      out << "applied   " << migration.version << ' ' << migration.name << '\n';
    }
    initialise(migrator.connection(), options, out);
  });
}

void migrate_baseline(const MigrateOptions& options, std::ostream& out) {
  translated([&] {
    Migrator migrator(options.owner_conninfo);
    migrator.require_known();
    if (!migrator.has_schema())
      throw Failure(
          ErrorKind::kSchemaVersion, "there is no outbox to adopt",
          "run `postrider migrate up`, or apply the files of `postrider migrate --print` first");
    {
      pqxx::nontransaction tx(migrator.connection());
      if (tx.exec("SELECT to_regprocedure('outbox.maintain()')")[0][0].is_null())
        throw Failure(ErrorKind::kSchemaVersion,
                      "only a part of the files was applied: outbox.maintain() "
                      "does not exist",
                      "apply all files of `postrider migrate --print`");
    }
    for (const auto& migration : service_migrations()) {
      if (migrator.applied().contains(migration.version)) continue;
      migrator.adopt(migration);
      out << "adopted   " << migration.version << ' ' << migration.name << '\n';
    }
    initialise(migrator.connection(), options, out);
  });
}

void migrate_down(const MigrateOptions& options, bool drop_slot, std::ostream& out) {
  translated([&] {
    Migrator migrator(options.owner_conninfo);
    migrator.require_known();
    remove_slots(migrator.connection(), options, drop_slot, out);
    const auto known = service_migrations();
    for (auto migration = known.rbegin(); migration != known.rend(); ++migration) {
      if (!migrator.applied().contains(migration->version)) continue;
      migrator.revert(*migration);
      out << "reverted  " << migration->version << ' ' << migration->name << '\n';
    }
  });
}

bool migrate_status(const MigrateOptions& options, std::ostream& out) {
  return translated([&] {
    Migrator migrator(options.owner_conninfo);
    bool complete = true;
    for (const auto& migration : service_migrations()) {
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
      if (version > latest_service_schema_version()) {
        out << "UNKNOWN   " << version << ' ' << row.name << '\n';
        complete = false;
      }
    return print_initialisation(migrator.connection(), options, out) && complete;
  });
}

void migrate_print(std::ostream& out) {
  for (const auto& migration : service_migrations())
    out << "-- " << migration.version << ' ' << migration.name << '\n' << migration.up << '\n';
}

}  // namespace postrider
