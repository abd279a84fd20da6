#include "tests/faults/campaign/world.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

#include "dev/ports.h"
#include "tests/faults/campaign/sql.h"
#include "tests/support/readmodel_world.h"
#include "tests/support/relay_process.h"

namespace postrider::campaign {
namespace fs = std::filesystem;
namespace {

constexpr const char* kDatabase = "shop";
constexpr const char* kTarget = "views";

// Kills and lost links are not power losses: nothing has to reach the disk. `note` is large and
// stays outside of the row, so that an update which leaves it alone does not carry it.
constexpr const char* kBank = R"(
CREATE TABLE account (id int PRIMARY KEY, cents bigint NOT NULL, note text);
ALTER TABLE account ALTER note SET STORAGE EXTERNAL;
CREATE TABLE marker (n bigint PRIMARY KEY))";

constexpr const char* kTally = R"(
CREATE TABLE tally (key text PRIMARY KEY, n bigint NOT NULL, chain bigint NOT NULL, cents bigint NOT NULL);
CREATE TABLE progress (events bigint NOT NULL);
INSERT INTO progress VALUES (0);
CREATE TABLE arrived (n bigint PRIMARY KEY);
CREATE TABLE slow (ms int NOT NULL);
INSERT INTO slow VALUES (0);
CREATE FUNCTION apply_tally(events postrider.event[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  r record;
  chained bigint;
  step bigint;
BEGIN
  PERFORM pg_sleep(ms / 1000.0) FROM slow WHERE ms > 0;
  UPDATE progress SET events = progress.events + cardinality(apply_tally.events);
  INSERT INTO arrived SELECT (payload ->> 'n')::bigint FROM unnest(apply_tally.events) WHERE subject = 'shop.marker';
  FOR r IN
    SELECT CASE WHEN id IS NULL THEN subject || ' ' || coalesce(key, '') ELSE coalesce(key, '-') END AS k,
           array_agg(CASE WHEN id IS NULL THEN ordinal % 268435456
                          ELSE ('x' || substr(id::text, 1, 7))::bit(28)::int END ORDER BY ordinal) AS steps,
           coalesce(sum((payload ->> 'c')::bigint), 0) AS cents
      FROM unnest(apply_tally.events) GROUP BY 1
  LOOP
    SELECT t.chain INTO chained FROM tally t WHERE t.key = r.k;
    chained := coalesce(chained, 0);
    FOREACH step IN ARRAY r.steps LOOP
      chained := (chained * 1000003 + step) % 2147483647;
    END LOOP;
    INSERT INTO tally AS t VALUES (r.k, cardinality(r.steps), chained, r.cents)
      ON CONFLICT (key) DO UPDATE SET n = t.n + excluded.n, chain = excluded.chain, cents = t.cents + excluded.cents;
  END LOOP;
END $$)";

dev::PostgresServer::Options target_options(const fs::path& folder) {
  dev::PostgresServer::Options options;
  options.data = folder / "target";
  options.socket = folder / "target-socket";
  options.log = folder / "target-postgres.log";
  options.port = dev::free_port();
  options.settings = {"listen_addresses = '127.0.0.1'", "max_connections = 60",
                      "shared_buffers = 128MB", "fsync = off", "max_wal_size = '2GB'"};
  options.hba = {"local all all trust", "host all applier 127.0.0.1/32 trust"};
  return options;
}

std::string at_port(const char* role, const char* database, std::uint16_t port) {
  return std::string("host=127.0.0.1 sslmode=disable user=") + role + " dbname=" + database +
         " port=" + std::to_string(port);
}

fs::path made(const fs::path& folder) {
  fs::create_directories(folder);
  fs::permissions(folder, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  return folder;
}

}  // namespace

World::World(const fs::path& folder)
    : folder_(made(folder)), environment_(folder_), target_(target_options(folder_)) {
  std::ostringstream out;
  environment_.up(out);
  prepare_source();
  prepare_target();
}

World::~World() {
  (void)broker().stop(/*kill=*/true);
  (void)source().stop(dev::Shutdown::kImmediate);
  (void)target_.stop(dev::Shutdown::kImmediate);
}

std::string World::source_conninfo(const std::string& role) const {
  return const_cast<World*>(this)->environment_.postgres().conninfo(role, kDatabase);
}
std::string World::target_conninfo(const std::string& role) const {
  return target_.conninfo(role, kTarget);
}

World::Ports World::ports() const {
  auto& environment = const_cast<World*>(this)->environment_;
  return {environment.postgres().options().port, environment.nats().options().port,
          target_.options().port};
}

void World::prepare_source() {
  dev::execute(source().conninfo("postgres", "postgres"),
               {"ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET shared_buffers = '256MB'",
                "ALTER SYSTEM SET max_wal_size = '4GB'", "ALTER SYSTEM SET max_connections = 80",
                "ALTER SYSTEM SET max_prepared_transactions = 80"});
  if (!source().stop(dev::Shutdown::kFast)) throw std::runtime_error("the source does not stop");
  source().start();
  // Kept open, it would meet no fault: statements one by one, each on a connection of its own.
  Sql app(source_conninfo("app"));
  app.run(kBank);
  const auto config = write_config("migrate", ports(), 0);
  postrider({"migrate", "up", "--config", config.string()});
  // The first session opens the wal store, and the epoch in which the bank is captured.
  postrider({"relay", "--until-caught-up", "--config", config.string()});
  Sql(source_conninfo("postgres"))
      .run("SELECT pg_create_logical_replication_slot('witness', 'test_decoding')");
  app.run(
      "INSERT INTO account SELECT g, 0, repeat(chr(97 + g % 26), 2500) FROM generate_series(1, " +
      std::to_string(kAccounts) + ") g");
}

void World::prepare_target() {
  target_.initialise();
  target_.start();
  dev::execute(target_.conninfo("postgres", "postgres"), test::target_roles(kTarget));
  dev::execute(target_conninfo("postgres"), {"GRANT CREATE ON SCHEMA public TO applier"});
  postrider(
      {"migrate", "up", "--target", "--config", write_config("migrate", ports(), 0).string()});
  dev::execute(target_conninfo("applier"), {kBank, kTally});
}

void World::postrider(const std::vector<std::string>& arguments) {
  const auto log = folder_ / "prepare.log";
  dev::Program program;
  program.command = {test::postrider_program()};
  program.command.insert(program.command.end(), arguments.begin(), arguments.end());
  program.log = log;
  if (dev::run(program) == 0) return;
  std::ifstream file(log);
  throw std::runtime_error(
      "postrider " + arguments[0] + " failed: " +
      std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()));
}

fs::path World::write_config(const std::string& name, const Ports& ports, int variant) {
  const auto path = folder_ / (name + ".toml");
  std::ofstream file(path, std::ios::trunc);
  // A batch of another size at each variant, so that what is torn or joined differs, too.
  constexpr int kBatch = 1500;
  file << "[source]\nname = \"shop\"\nconninfo = \"" << at_port("relay", kDatabase, ports.source)
       << "\"\n[migrate]\nconninfo = \"" << source_conninfo("postgres")
       << "\"\ntarget_conninfo = \"" << target_conninfo("owner") << "\"\n[target]\nconninfo = \""
       << at_port("applier", kTarget, ports.target)
       << "\"\n[nats]\nurl = \"nats://127.0.0.1:" << ports.broker
       << "\"\n[stream]\nduplicate_window = \"100ms\"\n[relay]\n"
       << "broker_sync_interval = \"" << kBrokerSync.count() << "ms\"\nconfirm_margin = \"1s\"\n"
       << "confirm_interval = \"500ms\"\nidle_confirm_interval = \"1s\"\nwal_store = true\n"
       << "takeover_after = \"1s\"\nack_timeout = \"3s\"\nwal_sender_timeout = \"4s\"\n"
       << "message_id = " << (variant % 2 == 0 ? "true" : "false")
       << "\npart_bytes = " << 65536 + 4096 * (variant % 5)
       << "\n[[capture]]\ntables = [\"public.account\", "
       << "\"public.marker\"]\n[[readmodel]]\nname = \"tally\"\ntakeover_after = \"1s\"\n"
       << "batch_events = " << kBatch << "\n[[readmodel]]\nname = \"copy\"\n"
       << "takeover_after = \"1s\"\nbatch_events = " << kBatch / 2 << "\n[[projection]]\n"
       << "readmodel = \"tally\"\nsubjects = \"shop.>\"\nfunction = \"apply_tally\"\n[[replica]]\n"
       << "readmodel = \"copy\"\non_new_column = \"add\"\n";
  return path;
}

}  // namespace postrider::campaign
