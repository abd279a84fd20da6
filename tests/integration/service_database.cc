#include "service_database.h"

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <stdexcept>

namespace postrider::testing {
namespace {

const dev::PostgresServer* server = nullptr;
int databases = 0;

std::string superuser(const std::string& database) {
  return server->conninfo("postgres", database);
}

std::string hint_of(const std::string& message) {
  constexpr std::string_view kLabel = "HINT:  ";
  const auto start = message.find(kLabel);
  if (start == std::string::npos) return {};
  const auto end = message.find('\n', start);
  return message.substr(start + kLabel.size(), end - start - kLabel.size());
}

}  // namespace

void make_roles(const dev::PostgresServer& on) {
  dev::execute(
      on.conninfo("postgres", "postgres"),
      {"CREATE ROLE postrider_writer NOLOGIN", "CREATE ROLE postrider_relay NOLOGIN",
       "CREATE ROLE owner LOGIN", "CREATE ROLE relay LOGIN REPLICATION IN ROLE postrider_relay",
       "CREATE ROLE app LOGIN IN ROLE postrider_writer", "CREATE ROLE postrider_applier NOLOGIN",
       "CREATE ROLE postrider_reader NOLOGIN",
       "CREATE ROLE applier LOGIN IN ROLE postrider_applier",
       "CREATE ROLE reader LOGIN IN ROLE postrider_reader"});
}

void use_server(const dev::PostgresServer& chosen) {
  server = &chosen;
}

std::ostream& operator<<(std::ostream& out, const Refusal& refusal) {
  return out << refusal.sqlstate << ' ' << refusal.message;
}

ServiceDatabase::ServiceDatabase(Migrated migrated)
    : name_("service_" + std::to_string(++databases)) {
  dev::execute(superuser("postgres"), {"CREATE DATABASE " + name_ + " OWNER owner"});
  dev::execute(
      superuser(name_),
      {"GRANT CREATE ON SCHEMA public TO app",
       "DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid::regprocedure FROM pg_proc "
       "WHERE proname = 'pg_logical_emit_message' AND pronamespace = "
       "'pg_catalog'::regnamespace LOOP "
       "EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f); "
       "EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO owner', f); END LOOP; END $$"});
  options_.owner_conninfo = conninfo("owner");
  options_.relay_conninfo = conninfo("relay");
  options_.source = name_;
  options_.slot = "postrider_" + name_;
  if (migrated == Migrated::kNo) return;
  std::ostringstream out;
  migrate_up(options_, out);
}

ServiceDatabase::~ServiceDatabase() {
  connections_.clear();
  try {
    dev::execute(
        superuser("postgres"),
        {"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '" +
             name_ + "'",
         "DROP DATABASE " + name_ + " WITH (FORCE)"});
  } catch (const std::exception& error) {
    std::cerr << "database " << name_ << " stays: " << error.what() << '\n';
  }
}

std::string ServiceDatabase::conninfo(const std::string& user) const {
  return server->conninfo(user, name_);
}

pqxx::connection& ServiceDatabase::connection(const std::string& user) {
  auto& slot = connections_[user];
  if (!slot) slot = std::make_unique<pqxx::connection>(conninfo(user));
  return *slot;
}

std::string ServiceDatabase::run(const std::string& user, const std::string& statement) {
  pqxx::work tx(connection(user));
  const pqxx::result rows = tx.exec(statement);
  tx.commit();
  if (rows.empty() || rows.columns() == 0 || rows[0][0].is_null()) return {};
  return rows[0][0].as<std::string>();
}

void ServiceDatabase::open_wal_store() {
  const std::string source = "'" + options_.source + "'";
  const std::string session = run("relay", "SELECT session FROM outbox.relay_open(" + source + ")");
  if (run("relay", "SELECT outbox.relay_set_epochs(" + source + ", " + session + ", '[]', true)") !=
      "t")
    throw std::logic_error("another session is open");
}

std::optional<Refusal> ServiceDatabase::refusal(const std::string& user,
                                                const std::string& statement) {
  try {
    run(user, statement);
    return std::nullopt;
  } catch (const pqxx::sql_error& error) {
    return Refusal{sql::sqlstate(error), error.what(), hint_of(error.what())};
  }
}

}  // namespace postrider::testing
