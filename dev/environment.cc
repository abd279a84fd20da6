#include "dev/environment.h"

#include <fstream>
#include <ostream>
#include <stdexcept>

#include "dev/ports.h"

namespace postrider::dev {
namespace fs = std::filesystem;
namespace {

constexpr const char* kDatabase = "shop";
constexpr const char* kTarget = "views";  // the database of read models
constexpr const char* kSource = "shop";
constexpr const char* kStream = "SHOP";

struct Ports {
  std::uint16_t postgres = 0;
  std::uint16_t nats = 0;
};

fs::path made(fs::path folder) {
  std::error_code error;
  folder = fs::absolute(folder).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  fs::create_directories(folder, error);
  if (error) throw std::runtime_error("cannot make " + folder.string() + ": " + error.message());
  return folder;
}

// Chosen once and kept, so that clients and configuration stay right over restarts.
Ports ports_of(const fs::path& folder) {
  Ports ports;
  const auto path = folder / "ports";
  std::ifstream file(path);
  if (file >> ports.postgres >> ports.nats) return ports;
  ports.postgres = free_port();
  do ports.nats = free_port();
  while (ports.nats == ports.postgres);
  std::ofstream out(path, std::ios::trunc);
  out << ports.postgres << ' ' << ports.nats << '\n';
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
  return ports;
}

PostgresServer::Options postgres_options(const fs::path& folder) {
  PostgresServer::Options options;
  options.data = folder / "postgres";
  options.socket = folder / "socket";
  options.log = folder / "postgres.log";
  options.port = ports_of(folder).postgres;
  options.settings = {"listen_addresses = '127.0.0.1'", "wal_level = logical",
                      "max_prepared_transactions = 20", "max_connections = 50",
                      "shared_buffers = 64MB"};
  options.hba = {"local all all trust", "local replication all trust",
                 // Other users of this machine may reach loopback, so no superuser there.
                 "host shop,views owner,relay,app,applier 127.0.0.1/32 trust",
                 "host replication relay 127.0.0.1/32 trust"};
  return options;
}

NatsServer::Options nats_options(const fs::path& folder) {
  NatsServer::Options options;
  options.folder = folder / "nats";
  options.port = ports_of(folder).nats;
  return options;
}

void write_file(const fs::path& path, const std::string& text) {
  const fs::path draft = path.string() + ".new";
  std::ofstream file(draft, std::ios::trunc);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + draft.string());
  file.close();
  fs::rename(draft, path);
}

}  // namespace

Environment::Environment(fs::path folder)
    : folder_(made(std::move(folder))),
      postgres_(postgres_options(folder_)),
      nats_(nats_options(folder_)) {}

void Environment::up(std::ostream& out) {
  const auto finished = folder_ / "postgres" / "postrider-dev-ready";
  if (!fs::exists(finished)) {
    // A first start that did not come to its end is thrown away: nothing can be in it.
    if (!postgres_.stop(Shutdown::kImmediate))
      throw std::runtime_error("a half-made PostgreSQL cluster does not stop");
    fs::remove_all(postgres_.options().data);
    postgres_.initialise();
    postgres_.start();
    make_roles_and_database();
    std::ofstream(finished) << "made by postrider dev\n";
  }
  postgres_.start();
  nats_.start();
  write_configuration();
  write_environment();
  status(out);
  out << "next: postrider migrate up --config " << (folder_ / "postrider.toml").string() << '\n';
}

void Environment::down(bool remove, std::ostream& out) {
  if (!nats_.stop()) throw std::runtime_error("nats-server does not stop");
  // Fast first; a client that holds it up for longer than this is cut off, and nothing is lost.
  constexpr milliseconds kPatience{15'000};
  if (!postgres_.stop(Shutdown::kFast, kPatience) && !postgres_.stop(Shutdown::kImmediate))
    throw std::runtime_error("PostgreSQL does not stop");
  out << "stopped   PostgreSQL and nats-server in " << folder_.string() << '\n';
  if (!remove) return;
  for (const char* name :
       {"postgres", "socket", "nats", "postgres.log", "ports", "dev.env", "postrider.toml"})
    fs::remove_all(folder_ / name);
  out << "deleted   their data\n";
}

bool Environment::status(std::ostream& out) const {
  const auto line = [&out](const char* name, std::optional<pid_t> pid, const std::string& where) {
    out << (pid ? "running   " : "stopped   ") << name;
    if (pid) out << "  pid " << *pid << "  " << where;
    out << '\n';
    return pid.has_value();
  };
  const bool postgres = line("PostgreSQL ", postgres_.pid(), postgres_.conninfo("app", kDatabase));
  const bool nats = line("nats-server", nats_.pid(), nats_.url());
  return postgres && nats;
}

// The roles that production should have: nothing that Postrider does needs a superuser.
void Environment::make_roles_and_database() const {
  execute(postgres_.conninfo("postgres", "postgres"),
          {"CREATE ROLE postrider_writer NOLOGIN", "CREATE ROLE postrider_relay NOLOGIN",
           "CREATE ROLE owner LOGIN",
           "CREATE ROLE relay LOGIN REPLICATION IN ROLE postrider_relay, pg_read_all_stats",
           "CREATE ROLE postrider_applier NOLOGIN", "CREATE ROLE postrider_reader NOLOGIN",
           "CREATE ROLE app LOGIN IN ROLE postrider_writer, postrider_reader",
           "CREATE ROLE applier LOGIN IN ROLE postrider_applier",
           std::string("CREATE DATABASE ") + kDatabase + " OWNER owner",
           std::string("CREATE DATABASE ") + kTarget + " OWNER owner"});
  execute(postgres_.conninfo("postgres", kTarget),
          {"GRANT CREATE ON SCHEMA public TO app",
           std::string("GRANT CREATE ON DATABASE ") + kTarget + " TO applier"});
  execute(postgres_.conninfo("postgres", kDatabase),
          {"GRANT CREATE ON SCHEMA public TO app",
           "DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid::regprocedure FROM pg_proc "
           "WHERE proname = 'pg_logical_emit_message' AND pronamespace = "
           "'pg_catalog'::regnamespace LOOP "
           "EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f); "
           "EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO owner', f); END LOOP; END $$"});
}

void Environment::write_configuration() const {
  const auto path = folder_ / "postrider.toml";
  if (fs::exists(path)) return;  // it may have been edited
  write_file(path, std::string("# Written by `postrider dev up`; yours to edit. Every key: "
                               "docs/operating.md.\n[source]\nname = \"") +
                       kSource + "\"\nconninfo = \"" + postgres_.conninfo("relay", kDatabase) +
                       "\"\n\n[target]\nconninfo = \"" + postgres_.conninfo("applier", kTarget) +
                       "\"\n\n[migrate]\nconninfo = \"" + postgres_.conninfo("owner", kDatabase) +
                       "\"\ntarget_conninfo = \"" + postgres_.conninfo("owner", kTarget) +
                       "\"\n\n[nats]\nurl = \"" + nats_.url() + "\"\n\n[stream]\nname = \"" +
                       kStream + "\"\n\n[relay]\nwal_store = true  # both stores in development\n");
}

void Environment::write_environment() const {
  write_file(folder_ / "dev.env",
             "export PGHOST='" + postgres_.options().socket.string() +
                 "'\nexport PGPORT=" + std::to_string(postgres_.options().port) +
                 "\nexport PGUSER=app\nexport PGDATABASE=" + kDatabase + "\nexport NATS_URL=" +
                 nats_.url() + "\nexport POSTRIDER_STREAM=" + kStream + "\n");
}

}  // namespace postrider::dev
