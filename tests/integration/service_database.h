// A database of a service, fresh for each test, on the one PostgreSQL cluster of this program, with
// the roles that production should have: owner (migrates), relay (LOGIN REPLICATION), app (a
// writer); for read models applier and reader. Not thread-safe, but conninfo() may be used from any
// thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "base/postgres/sql.h"
#include "daemon/migrate/migrate.h"
#include "dev/postgres_server.h"

namespace postrider::testing {

// Makes the cluster's roles; called once, by main.
void make_roles(const dev::PostgresServer& server);
// The server that databases are made on. Must outlive them.
void use_server(const dev::PostgresServer& server);

// What the database said to a statement that it refused.
struct Refusal {
  std::string sqlstate;
  std::string message;  // of the server, all lines
  std::string hint;     // empty when it gave none
};
std::ostream& operator<<(std::ostream& out, const Refusal& refusal);

class ServiceDatabase {
 public:
  enum class Migrated { kNo, kYes };

  explicit ServiceDatabase(Migrated migrated = Migrated::kYes);
  // Drops its slots and the database, whoever is connected.
  ~ServiceDatabase();
  ServiceDatabase(const ServiceDatabase&) = delete;
  ServiceDatabase& operator=(const ServiceDatabase&) = delete;

  [[nodiscard]] std::string conninfo(const std::string& user) const;
  [[nodiscard]] const MigrateOptions& options() const { return options_; }

  // Runs a statement in a transaction of its own, as `user`; the first field of the first row as
  // text, "" when there is none or it is NULL. Throws what libpqxx throws.
  std::string run(const std::string& user, const std::string& statement);
  // As a relay session with wal_store on does.
  void open_wal_store();
  // As run, when it must be refused; nothing when it was not.
  std::optional<Refusal> refusal(const std::string& user, const std::string& statement);

 private:
  pqxx::connection& connection(const std::string& user);

  std::string name_;
  MigrateOptions options_;
  std::map<std::string, std::unique_ptr<pqxx::connection>> connections_;  // by user
};

}  // namespace postrider::testing
