#include "tests/support/world.h"

#include <libpq-fe.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace postrider::test {
namespace fs = std::filesystem;
namespace {

// In POSTRIDER_TEST_FOLDER, which must not be long: Unix sockets are made below it.
fs::path new_folder() {
  const char* root = std::getenv("POSTRIDER_TEST_FOLDER");
  std::string path = std::string(root == nullptr ? "/tmp" : root) + "/postrider-test.XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  fs::permissions(path, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  return path;
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

std::string query(const std::string& conninfo, const std::string& statement) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(conninfo.c_str()),
                                                                &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(
      PQexec(connection.get(), statement.c_str()), &PQclear);
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
    throw std::runtime_error(statement + ": " + PQerrorMessage(connection.get()));
  return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
}

World::World()
    : folder_(new_folder()),
      environment_(folder_),
      postgres_(environment_.postgres()),
      nats_(environment_.nats()) {
  std::ostringstream out;
  environment_.up(out);
  write_config({}, "migrate");
  if (postrider({"migrate", "up", "--config", (folder_ / "migrate.toml").string()}) != 0)
    throw std::runtime_error("migrate up failed: " + output());
  make_written_table(superuser());
  oracle_ = std::make_unique<Oracle>(superuser());
}

World::~World() {
  if (HasFailure())
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.path().extension() == ".log" && entry.path().filename() != "postgres.log") {
        constexpr std::size_t kTail = 6000;
        const auto text = text_of(entry.path());
        std::cerr << "--- " << entry.path().filename().string() << '\n'
                  << text.substr(text.size() - std::min(text.size(), kTail)) << '\n';
      }
  (void)nats_.stop(/*kill=*/true);
  (void)postgres_.stop(dev::Shutdown::kImmediate);
  fs::remove_all(folder_);
}

Settings World::quick() {
  return {{"source.name", "\"shop\""},
          {"relay.broker_sync_interval", "\"200ms\""},
          {"relay.confirm_margin", "\"100ms\""},
          {"relay.confirm_interval", "\"100ms\""},
          {"relay.idle_confirm_interval", "\"200ms\""},
          {"relay.wal_store", "true"}};
}

Settings World::unconfirmed() {
  auto settings = quick();
  settings["relay.broker_sync_interval"] = "\"1h\"";
  return settings;
}

fs::path World::write_config(const Settings& changes, const std::string& name) {
  Settings settings = {{"source.name", "\"shop\""},
                       {"source.conninfo", "\"" + conninfo("relay") + "\""},
                       {"migrate.conninfo", "\"" + conninfo("owner") + "\""},
                       {"nats.url", "\"" + nats_.url() + "\""}};
  for (const auto& [key, value] : changes) settings[key] = value;
  const auto path = folder_ / (name + ".toml");
  std::ofstream file(path, std::ios::trunc);
  std::string section;
  for (const auto& [key, value] : settings) {
    const auto dot = key.find('.');
    if (key.substr(0, dot) != section) file << '[' << (section = key.substr(0, dot)) << "]\n";
    file << key.substr(dot + 1) << " = " << value << '\n';
  }
  return path;
}

std::unique_ptr<RelayProcess> World::start_relay(const Settings& settings,
                                                 const std::string& failpoints,
                                                 const std::string& name,
                                                 const std::vector<std::string>& arguments) {
  return std::make_unique<RelayProcess>(write_config(settings, name), folder_ / (name + ".log"),
                                        failpoints, arguments);
}

void World::catch_up(const Settings& settings) {
  const auto relay = start_relay(settings, {}, "catch_up", {"--until-caught-up"});
  const auto status = relay->wait(dev::milliseconds{90'000});
  ASSERT_TRUE(status.has_value()) << "the relay does not catch up: " << relay->log();
  ASSERT_EQ(*status, 0) << relay->log();
}

int World::postrider(const std::vector<std::string>& arguments) {
  fs::remove(folder_ / "command.out");
  dev::Program program;
  program.command = {postrider_program()};
  program.command.insert(program.command.end(), arguments.begin(), arguments.end());
  program.log = folder_ / "command.out";
  return dev::run(program);
}

std::string World::output() const {
  return text_of(folder_ / "command.out");
}

Verdict World::verdict(std::size_t from) {
  NatsClient client(nats_.options().port);
  return compare(client.read_stream(kStream), oracle_->read(), read_written(superuser()), kSource,
                 from);
}

std::uint64_t World::last_seq() {
  NatsClient client(nats_.options().port);
  if (!client.has_stream(kStream)) return 0;
  return client.api(std::string("STREAM.INFO.") + kStream)["state"]["last_seq"]
      .get<std::uint64_t>();
}

bool World::wait_for_seq(std::uint64_t seq, dev::milliseconds limit) {
  return dev::wait_until(
      [&] {
        try {
          return last_seq() >= seq;
        } catch (const std::runtime_error&) {
          return false;  // the broker is away
        }
      },
      limit);
}

std::string World::sql(const std::string& statement) {
  return query(superuser(), statement);
}
std::string World::app_sql(const std::string& statement) {
  return query(conninfo("app"), statement);
}
void World::drop_slot() {
  const auto is_free = [this] {
    return sql("SELECT bool_or(active) FROM pg_replication_slots "
               "WHERE slot_name = 'postrider_shop'") == "f";
  };
  if (!dev::wait_until(is_free, dev::milliseconds{30'000}))
    throw std::runtime_error("slot postrider_shop is held, or is not there");
  sql("SELECT pg_drop_replication_slot('postrider_shop')");
}
std::string World::superuser() const {
  return conninfo("postgres");
}
std::string World::conninfo(const std::string& role) const {
  return postgres_.conninfo(role, "shop");
}

Workload::Options World::writers() const {
  Workload::Options options;
  options.app = conninfo("app");
  options.owner = conninfo("owner");
  return options;
}

std::uint64_t World::write(std::uint64_t events) {
  const auto enough = committed() + events;
  Workload workload(writers());
  if (!dev::wait_until([&] { return committed() >= enough; }, dev::milliseconds{60'000}))
    throw std::runtime_error("workload: the writers make no progress");
  workload.stop();
  return committed();
}

std::uint64_t World::committed() {
  return std::stoull(sql("SELECT count(*) FROM written"));
}

NatsClient World::nats_client() {
  return NatsClient(nats_.options().port);
}

}  // namespace postrider::test
