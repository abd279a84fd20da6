#include "dev/postgres_server.h"

#include <libpq-fe.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace postrider::dev {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kLogTail = 2000;
constexpr std::size_t kLongestSocketPath = 107;  // sun_path, less its end

std::string tail_of(const fs::path& log) {
  std::ifstream file(log);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return text.substr(text.size() - std::min(text.size(), kLogTail));
}

void append(const fs::path& path, const std::vector<std::string>& lines) {
  std::ofstream file(path, std::ios::app);
  for (const auto& line : lines) file << line << '\n';
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

// A folder that the server's user owns, whatever our umask is.
void make_owned(const fs::path& folder, const std::optional<User>& user) {
  fs::create_directories(folder);
  if (user && ::chown(folder.c_str(), user->uid, user->gid) != 0)
    throw std::runtime_error("cannot give " + folder.string() + " to " + user->name);
  fs::permissions(folder, fs::perms::owner_all);
}

void require_reachable(const fs::path& folder, const std::optional<User>& user) {
  if (!user) return;
  const int status = run({{"test", "-x", folder.string()}, {}, user, {}, false});
  if (status != 0)
    throw std::runtime_error("PostgreSQL must not run as root, and user " + user->name +
                             " cannot reach " + folder.string() +
                             ": choose a folder whose parents others may enter, such as one in "
                             "/tmp or /var/tmp");
}

}  // namespace

fs::path postgres_programs() {
  if (const char* folder = std::getenv("POSTRIDER_PG_BINDIR")) return folder;
  fs::path newest;
  int version = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", error)) {
    const int number = std::atoi(entry.path().filename().c_str());
    if (number <= version || !fs::exists(entry.path() / "bin/initdb")) continue;
    version = number;
    newest = entry.path() / "bin";
  }
  if (newest.empty())
    throw std::runtime_error(
        "no PostgreSQL server in /usr/lib/postgresql: install it "
        "(scripts/install-dependencies), or name its folder of programs in POSTRIDER_PG_BINDIR");
  return newest;
}

PostgresServer::PostgresServer(Options options)
    : options_(std::move(options)), user_(unprivileged_user()) {
  const auto socket = options_.socket / (".s.PGSQL." + std::to_string(options_.port));
  if (socket.string().size() > kLongestSocketPath)
    throw std::runtime_error("the path of the Unix socket, " + socket.string() +
                             ", is longer than 107 bytes: choose a folder with a shorter path");
}

bool PostgresServer::initialised() const {
  return fs::exists(options_.data / "PG_VERSION");
}

void PostgresServer::initialise() {
  make_owned(options_.socket, user_);
  make_owned(options_.data, user_);
  require_reachable(options_.data, user_);
  const int status = run(
      {{(postgres_programs() / "initdb").string(), "-D", options_.data.string(), "-U", "postgres",
        "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"},
       options_.log,
       user_,
       {},
       false});
  if (status != 0) throw std::runtime_error("initdb failed: " + tail_of(options_.log));
  std::vector<std::string> settings = {
      "port = " + std::to_string(options_.port),
      "unix_socket_directories = '" + options_.socket.string() + "'",
  };
  settings.insert(settings.end(), options_.settings.begin(), options_.settings.end());
  append(options_.data / "postgresql.conf", settings);
  auto hba = options_.hba;
  if (hba.empty()) hba = {"local all all trust", "local replication all trust"};
  fs::resize_file(options_.data / "pg_hba.conf", 0);
  append(options_.data / "pg_hba.conf", hba);
}

void PostgresServer::start(milliseconds limit) {
  if (pid()) return;
  const pid_t child =
      dev::start({{(postgres_programs() / "postgres").string(), "-D", options_.data.string()},
                  options_.log,
                  user_,
                  {"LC_ALL=C.UTF-8"},
                  false});
  const bool ready = wait_until([&] { return !alive(child) || accepts_connections(); }, limit);
  if (!ready || !alive(child))
    throw std::runtime_error("PostgreSQL did not start: " + tail_of(options_.log));
}

bool PostgresServer::accepts_connections() const {
  return PQping(conninfo("postgres", "postgres").c_str()) == PQPING_OK;
}

std::optional<pid_t> PostgresServer::pid() const {
  std::ifstream file(options_.data / "postmaster.pid");
  pid_t pid = 0;
  if (!(file >> pid) || pid <= 0 || !runs_with(pid, options_.data.string())) return std::nullopt;
  return pid;
}

bool PostgresServer::stop(Shutdown how, milliseconds limit) {
  const auto running = pid();
  if (!running) return true;
  switch (how) {
    case Shutdown::kFast:
      ::kill(*running, SIGINT);
      break;
    case Shutdown::kImmediate:
      ::kill(*running, SIGQUIT);
      break;
    case Shutdown::kKill: {
      // As a power loss: all of its processes at once, or the survivors hold its shared memory.
      // First it stands still, or it would answer the end of one with new ones.
      ::kill(*running, SIGSTOP);
      auto processes = children(*running);
      processes.push_back(*running);
      for (const pid_t process : processes) ::kill(process, SIGKILL);
      for (const pid_t process : processes)
        if (!wait_for_end(process, limit)) return false;
      return true;
    }
  }
  return wait_for_end(*running, limit);
}

std::string PostgresServer::conninfo(const std::string& user, const std::string& database) const {
  return "host=" + options_.socket.string() + " port=" + std::to_string(options_.port) +
         " user=" + user + " dbname=" + database;
}

void execute(const std::string& conninfo, const std::vector<std::string>& statements) {
  PGconn* connection = PQconnectdb(conninfo.c_str());
  std::string error = PQstatus(connection) == CONNECTION_OK ? "" : PQerrorMessage(connection);
  for (const auto& statement : statements) {
    if (!error.empty()) break;
    PGresult* result = PQexec(connection, statement.c_str());
    const auto status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
      error = statement + ": " + PQerrorMessage(connection);
    PQclear(result);
  }
  PQfinish(connection);
  if (!error.empty()) throw std::runtime_error(error);
}

}  // namespace postrider::dev
