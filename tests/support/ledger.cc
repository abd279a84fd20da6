#include "tests/support/ledger.h"

#include <libpq-fe.h>

#include <fstream>

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};

using Rows = std::unique_ptr<PGresult, decltype(&PQclear)>;

}  // namespace

const std::string LedgerWorld::kSetup = R"(
CREATE TABLE entry (ordinal bigint PRIMARY KEY, key text, id uuid NOT NULL UNIQUE);
CREATE TABLE tally (one bool PRIMARY KEY DEFAULT true CHECK (one), n bigint NOT NULL DEFAULT 0);
INSERT INTO tally DEFAULT VALUES;
CREATE FUNCTION refuse(e postrider.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE FUNCTION record(events postrider.event[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e postrider.event;
BEGIN
  FOREACH e IN ARRAY events LOOP
    PERFORM refuse(e);
    INSERT INTO entry VALUES (e.ordinal, e.key, e.id);
    UPDATE tally SET n = n + 1;
  END LOOP;
END $$;
)";

LedgerWorld::LedgerWorld() {
  // Nothing to fall back on in public.
  applier_sql("DROP TABLE account; DROP FUNCTION apply_bank");
  target_sql("ALTER DATABASE views SET search_path = ledger, public");
  write_setup(kSetup);
}

void LedgerWorld::write_setup(const std::string& sql) const {
  std::ofstream(folder_ / "ledger.sql", std::ios::trunc) << sql;
}

std::filesystem::path LedgerWorld::ledger_config(const std::string& keys, const std::string& more,
                                                 const std::string& name) {
  const auto path =
      write_config({{"target.conninfo", "\"" + target_conninfo("applier") + "\""}}, name);
  std::ofstream(path, std::ios::app)
      << "[[readmodel]]\nname = \"ledger\"\nschema = \"ledger\"\nsetup = \"ledger.sql\"\n"
      << keys << "\n[[projection]]\nreadmodel = \"ledger\"\nsubjects = \"shop.>\"\n"
      << "function = \"record\"\n"
      << more;
  return path;
}

std::unique_ptr<RelayProcess> LedgerWorld::apply(const std::vector<std::string>& arguments,
                                                 const std::string& failpoints,
                                                 const std::string& name) {
  const auto config = folder_ / "ledger.toml";
  return std::make_unique<RelayProcess>(std::filesystem::exists(config) ? config : ledger_config(),
                                        folder_ / (name + ".log"), failpoints, arguments, "apply");
}

int LedgerWorld::command(const std::vector<std::string>& arguments) {
  const auto config = folder_ / "ledger.toml";
  if (!std::filesystem::exists(config)) (void)ledger_config();
  std::vector<std::string> all = {"apply", "--config", config.string()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return postrider(all);
}

void LedgerWorld::emit(const std::vector<std::string>& keys) {
  for (const auto& key : keys) app_sql("SELECT outbox.emit('e', '{}', '" + key + "')");
}

bool LedgerWorld::applied(std::uint64_t ordinal, const std::string& name) {
  return target_says("SELECT ordinal >= " + std::to_string(ordinal) +
                         " FROM postrider.cursor WHERE readmodel = '" + name + "'",
                     "t");
}

bool LedgerWorld::target_says(const std::string& query, const std::string& expected) {
  return dev::wait_until(
      [&] {
        try {
          return target_sql(query) == expected;
        } catch (const std::runtime_error&) {
          return false;  // not there yet
        }
      },
      kPatience);
}

void LedgerWorld::expect_exact() {
  std::string ids;
  std::size_t events = 0;
  nats_client().for_each_message(kStream, [&](const StreamMessage& message) {
    ids += message.header("Postrider-Id").value_or("?") + " ";
    ++events;
  });
  EXPECT_EQ(
      target_sql("SELECT coalesce(string_agg(id || ' ', '' ORDER BY ordinal), '') FROM entry"),
      ids);
  EXPECT_EQ(target_sql("SELECT n FROM tally"), std::to_string(events));
}

LedgerReader::LedgerReader(std::string conninfo)
    : conninfo_(std::move(conninfo)), thread_([this] { run(); }) {}
LedgerReader::~LedgerReader() {
  (void)stop();
}
std::string LedgerReader::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return problem_;
}

void LedgerReader::run() {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(conninfo_.c_str()),
                                                                &PQfinish);
  const auto checked = [&](Rows rows) {
    const auto status = PQresultStatus(rows.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && problem_.empty())
      problem_ = PQerrorMessage(connection.get());
    return rows;
  };
  const auto exec = [&](const char* sql) {
    return checked({PQexec(connection.get(), sql), &PQclear});
  };
  const auto number = [](const Rows& rows, int column) {
    return std::stol(PQgetvalue(rows.get(), 0, column));
  };
  constexpr const char* kRead =
      "SELECT (SELECT count(*) FROM ledger.entry), (SELECT n FROM ledger.tally), ordinal "
      "FROM postrider.cursor WHERE readmodel = 'ledger'";
  checked({PQprepare(connection.get(), "read", kRead, 0, nullptr), &PQclear});
  long before = 0;
  while (!stop_ && problem_.empty()) {
    const bool prepared = reads_ % 3 == 0;
    const bool keeps_snapshot = reads_ % 3 == 1;
    if (keeps_snapshot) {
      exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
      const auto cursor = exec("SELECT ordinal FROM postrider.cursor WHERE readmodel = 'ledger'");
      if (problem_.empty()) before = std::max(before, number(cursor, 0));
    }
    const auto rows =
        prepared
            ? checked({PQexecPrepared(connection.get(), "read", 0, nullptr, nullptr, nullptr, 0),
                       &PQclear})
            : exec(kRead);
    if (keeps_snapshot) exec("COMMIT");
    if (!problem_.empty()) break;
    const long entries = number(rows, 0);
    const long tally = number(rows, 1);
    // A snapshot from before the swap may find the cursor behind the new tables, never before them.
    if (entries != tally || tally < number(rows, 2))
      problem_ = std::to_string(entries) + " entries, tally " + std::to_string(tally) +
                 ", cursor " + PQgetvalue(rows.get(), 0, 2);
    else if (tally < before)
      problem_ = "tally fell from " + std::to_string(before) + " to " + std::to_string(tally);
    before = tally;
    ++reads_;
  }
}

}  // namespace postrider::test
