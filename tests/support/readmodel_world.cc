#include "tests/support/readmodel_world.h"

#include <libpq-fe.h>

#include <fstream>
#include <random>
#include <stdexcept>

#include "dev/ports.h"

namespace postrider::test {
namespace {

constexpr const char* kTarget = "views";
constexpr int kHolders = 20;

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Rows = std::unique_ptr<PGresult, decltype(&PQclear)>;

Connection connect(const std::string& conninfo) {
  return {PQconnectdb(conninfo.c_str()), &PQfinish};
}
Rows exec(const Connection& connection, const std::string& statement) {
  return {PQexec(connection.get(), statement.c_str()), &PQclear};
}
bool good(const Rows& rows) {
  const auto status = PQresultStatus(rows.get());
  return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}
Rows must(const Connection& connection, const std::string& statement) {
  auto rows = exec(connection, statement);
  if (!good(rows)) throw std::runtime_error(statement + ": " + PQerrorMessage(connection.get()));
  return rows;
}
dev::PostgresServer::Options target_options(const std::filesystem::path& folder) {
  dev::PostgresServer::Options options;
  options.data = folder / "target";
  options.socket = folder / "target-socket";
  options.log = folder / "target-postgres.log";
  options.port = dev::free_port();
  options.settings = {"listen_addresses = ''", "max_connections = 50", "shared_buffers = 32MB"};
  return options;
}

// The chain of a key's event ids, as the projection computes it.
long chained(long chain, const std::string& id) {
  constexpr long kFactor = 1000003;
  constexpr long kModulus = 2147483647;
  return (chain * kFactor + std::stol(id.substr(0, 7), nullptr, 16)) % kModulus;
}

constexpr const char* kBankTables = R"(
CREATE TABLE account (key text PRIMARY KEY, balance bigint NOT NULL, events bigint NOT NULL, chain bigint NOT NULL);
GRANT SELECT ON account TO app;
CREATE FUNCTION apply_bank(events postrider.event[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e postrider.event;
  step bigint;
BEGIN
  FOREACH e IN ARRAY events LOOP
    step := ('x' || substr(e.id::text, 1, 7))::bit(28)::int;
    INSERT INTO account AS a VALUES (e.key, (e.payload ->> 'cents')::bigint, 1, step % 2147483647)
      ON CONFLICT (key) DO UPDATE SET balance = a.balance + excluded.balance, events = a.events + 1,
                                      chain = (a.chain * 1000003 + step) % 2147483647;
  END LOOP;
END $$;
)";

constexpr const char* kBankSource = R"(
CREATE TABLE holder (name text PRIMARY KEY, cents bigint NOT NULL DEFAULT 0);
INSERT INTO holder SELECT 'h' || g FROM generate_series(0, 19) g;
GRANT ALL ON holder TO app;
CREATE FUNCTION transfer(debtor text, creditor text, amount bigint, store text) RETURNS void LANGUAGE sql AS $$
  UPDATE holder SET cents = cents + CASE name WHEN debtor THEN -amount ELSE amount END
    WHERE name IN (SELECT name FROM holder WHERE name IN (debtor, creditor) ORDER BY name FOR UPDATE);
  SELECT outbox.emit('account.debited', jsonb_build_object('cents', -amount), debtor, 'debited', store => store);
  SELECT outbox.emit('account.credited', jsonb_build_object('cents', amount), creditor, 'credited', store => store);
$$;
GRANT EXECUTE ON FUNCTION transfer TO app;
)";

}  // namespace

std::ostream& operator<<(std::ostream& out, const Account& account) {
  return out << "{balance " << account.balance << ", events " << account.events << ", chain "
             << account.chain << "}";
}

std::vector<std::string> target_roles(const std::string& database) {
  return {"CREATE ROLE postrider_applier NOLOGIN",
          "CREATE ROLE postrider_reader NOLOGIN",
          "CREATE ROLE owner LOGIN",
          "CREATE ROLE app LOGIN IN ROLE postrider_reader",
          "CREATE ROLE applier LOGIN IN ROLE postrider_applier",
          "CREATE DATABASE " + database + " OWNER owner"};
}

ReadModelWorld::ReadModelWorld() : target_(target_options(folder_)) {
  target_.initialise();
  target_.start();
  dev::execute(target_.conninfo("postgres", "postgres"), target_roles(kTarget));
  dev::execute(target_conninfo("postgres"),
               {"GRANT CREATE ON SCHEMA public TO applier",
                std::string("GRANT CREATE ON DATABASE ") + kTarget + " TO applier"});
  const auto config = write_apply_config();
  if (postrider({"migrate", "up", "--target", "--config", config.string()}) != 0)
    throw std::runtime_error("migrate up --target failed: " + output());
  applier_sql(kBankTables);
  sql(kBankSource);
}

ReadModelWorld::~ReadModelWorld() {
  (void)target_.stop(dev::Shutdown::kImmediate);
}

std::string ReadModelWorld::target_conninfo(const std::string& role) const {
  return target_.conninfo(role, kTarget);
}
std::string ReadModelWorld::target_sql(const std::string& statement) {
  return query(target_conninfo("postgres"), statement);
}
std::string ReadModelWorld::applier_sql(const std::string& statement) {
  return query(target_conninfo("applier"), statement);
}

std::filesystem::path ReadModelWorld::write_apply_config(const std::string& readmodel_keys,
                                                         const std::string& more,
                                                         const std::string& name) {
  const auto path =
      write_config({{"target.conninfo", "\"" + target_conninfo("applier") + "\""},
                    {"migrate.target_conninfo", "\"" + target_conninfo("owner") + "\""}},
                   name);
  std::ofstream file(path, std::ios::app);
  file << "[[readmodel]]\nname = \"bank\"\n"
       << readmodel_keys << "\n[[projection]]\nreadmodel = \"bank\"\nsubjects = "
       << "\"shop.account.*\"\nfunction = \"apply_bank\"\n"
       << more;
  return path;
}

std::unique_ptr<RelayProcess> ReadModelWorld::start_applier(
    const std::string& failpoints, const std::string& name, const std::string& readmodel_keys,
    const std::vector<std::string>& arguments) {
  return std::make_unique<RelayProcess>(write_apply_config(readmodel_keys, {}, name),
                                        folder_ / (name + ".log"), failpoints, arguments, "apply");
}

void ReadModelWorld::apply_all() {
  const auto applier = start_applier({}, "apply_all", {}, {"--until-caught-up"});
  const auto status = applier->wait(dev::milliseconds{90'000});
  ASSERT_TRUE(status.has_value()) << "the applier does not catch up: " << applier->log();
  ASSERT_EQ(*status, 0) << applier->log();
}

std::uint64_t ReadModelWorld::applied_ordinal() {
  const auto text = target_sql("SELECT ordinal FROM postrider.cursor WHERE readmodel = 'bank'");
  return text.empty() ? 0 : std::stoull(text);
}

bool ReadModelWorld::wait_for_applied(std::uint64_t ordinal, dev::milliseconds limit) {
  return dev::wait_until(
      [&] {
        try {
          return applied_ordinal() >= ordinal;
        } catch (const std::runtime_error&) {
          return false;  // the target is away
        }
      },
      limit);
}

Accounts ReadModelWorld::expected_accounts() {
  Accounts accounts;
  nats_client().for_each_message(kStream, [&](const StreamMessage& message) {
    if (!message.subject.starts_with("shop.account.")) return;
    Account& account = accounts[message.header("Postrider-Key").value_or("?")];
    account.balance += nlohmann::json::parse(message.data)["cents"].get<long>();
    account.chain = chained(account.chain, message.header("Postrider-Id").value_or("0000000"));
    ++account.events;
  });
  return accounts;
}

Accounts ReadModelWorld::accounts() {
  const auto connection = connect(target_conninfo("postgres"));
  const auto rows = must(connection, "SELECT key, balance, events, chain FROM account");
  Accounts accounts;
  for (int row = 0; row < PQntuples(rows.get()); ++row) {
    const auto value = [&](int column) { return std::stol(PQgetvalue(rows.get(), row, column)); };
    accounts[PQgetvalue(rows.get(), row, 0)] = {value(1), value(2), value(3)};
  }
  return accounts;
}

Bank::Bank(std::string app, int writers) : app_(std::move(app)) {
  for (int i = 0; i < writers; ++i) threads_.emplace_back([this, i] { run(i); });
}
Bank::~Bank() {
  stop();
}
void Bank::stop() {
  stop_ = true;
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
}

void Bank::wait_for_more(long transactions) const {
  constexpr std::chrono::seconds kPatience{60};
  const long target = transactions_ + transactions;
  if (!dev::wait_until([&] { return transactions_ >= target; }, kPatience))
    throw std::runtime_error("the bank makes no progress");
}

void Bank::run(int number) {
  std::mt19937 random(static_cast<unsigned>(number));
  auto connection = connect(app_);
  while (!stop_) {
    const auto transfer = [&] {
      const auto debtor = random() % kHolders;
      const auto creditor = (debtor + 1 + random() % (kHolders - 1)) % kHolders;
      return "SELECT transfer('h" + std::to_string(debtor) + "', 'h" + std::to_string(creditor) +
             "', " + std::to_string(1 + random() % 1000) + ", " +
             (random() % 2 == 0 ? "'wal'" : "'table'") + "); ";
    };
    std::string statement = "BEGIN; ";
    for (auto count = random() % 4 + 1; count > 0; --count) statement += transfer();
    if (random() % 8 == 0) statement += "SAVEPOINT s; " + transfer() + "ROLLBACK TO SAVEPOINT s; ";
    statement += random() % 8 == 0 ? "ROLLBACK" : "COMMIT";
    if (good(exec(connection, statement))) {
      ++transactions_;
      continue;
    }
    // A deadlock, or the source is away.
    (void)exec(connection, "ROLLBACK");
    if (PQstatus(connection.get()) != CONNECTION_OK) {
      connection = connect(app_);
      dev::pause_between_polls();
    }
  }
}

BankReader::BankReader(std::string conninfo)
    : conninfo_(std::move(conninfo)), thread_([this] { run(); }) {}
BankReader::~BankReader() {
  (void)stop();
}
std::string BankReader::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return problem_;
}

void BankReader::run() {
  auto connection = connect(conninfo_);
  long events_before = 0;
  while (!stop_) {
    const auto rows = exec(connection,
                           "SELECT coalesce(sum(balance), 0), coalesce(sum(events), 0) "
                           "FROM account");
    if (!good(rows)) {  // the target is away
      connection = connect(conninfo_);
      dev::pause_between_polls();
      continue;
    }
    ++reads_;
    const long sum = std::stol(PQgetvalue(rows.get(), 0, 0));
    const long events = std::stol(PQgetvalue(rows.get(), 0, 1));
    if (sum != 0 && problem_.empty()) problem_ = "balances add up to " + std::to_string(sum);
    if (events < events_before && problem_.empty())
      problem_ =
          "events fell from " + std::to_string(events_before) + " to " + std::to_string(events);
    events_before = events;
  }
}

}  // namespace postrider::test
