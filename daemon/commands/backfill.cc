#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/postgres/conninfo.h"
#include "base/postgres/sql.h"
#include "daemon/commands/commands.h"

namespace postrider {
namespace {

constexpr int kBarWidth = 20;

struct Progress {
  std::string table;
  std::string state;
  std::string problem;
  std::int64_t rows = 0;
  std::int64_t expected = 0;
  double seconds = 0;  // since it was admitted, until now or its end

  [[nodiscard]] bool ended() const {
    return state == "complete" || state == "cancelled" || state == "failed";
  }
  [[nodiscard]] double rate() const {
    return seconds > 0 ? static_cast<double>(rows) / seconds : 0;
  }
  // The estimate is the planner's, and the table may have grown.
  [[nodiscard]] int percent() const {
    if (state == "complete") return 100;
    if (expected <= 0) return 0;
    return static_cast<int>(std::min<std::int64_t>(99, rows * 100 / expected));
  }
};

Error translate(const pqxx::sql_error& e) {
  const std::string state = sql::sqlstate(e);
  if (state == "42883" || state == "3F000")
    return {ErrorKind::kNotInitialised, e.what(), "run `postrider migrate up`"};
  if (state == "42501") return {ErrorKind::kNoPermission, e.what(), ""};
  return {ErrorKind::kConfiguration, e.what(), ""};
}

template <class Body>
auto with_database(const std::string& conninfo, Body body) {
  try {
    pqxx::connection connection(with_defaults(conninfo, liveness_defaults()));
    pqxx::work tx(connection);
    tx.exec("SET LOCAL lock_timeout = '10s'");
    auto value = body(tx);
    tx.commit();
    return value;
  } catch (const pqxx::sql_error& e) {
    throw Failure(translate(e));
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what(), connection_remedy(e.what()));
  }
}

// The newest of each table.
std::vector<Progress> read_progress(const Config& config, const std::string& table) {
  return with_database(config.relay.source.conninfo, [&](pqxx::work& tx) {
    std::vector<Progress> found;
    for (const auto& row : sql::exec(
             tx,
             "SELECT b.table_name, b.state, coalesce(b.problem, ''), b.rows_done + "
             "coalesce((SELECT "
             "sum(c.rows) FROM outbox.backfill_chunk c WHERE c.backfill = b.id), 0)::bigint, "
             "b.rows_expected, coalesce(extract(epoch FROM coalesce(b.ended_at, clock_timestamp()) "
             "- "
             "b.admitted_at), 0)::float8 FROM (SELECT DISTINCT ON (relid) * FROM outbox.backfill "
             "WHERE source = $1 AND ($2 = '' OR table_name = $2 OR relid IN (SELECT c.oid FROM "
             "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname || '.' || "
             "c.relname = $2)) ORDER BY relid, id DESC) AS b ORDER BY b.id",
             config.relay.source.name, table)) {
      Progress progress;
      progress.table = row[0].as<std::string>();
      progress.state = row[1].as<std::string>();
      progress.problem = row[2].as<std::string>();
      progress.rows = row[3].as<std::int64_t>();
      progress.expected = row[4].as<std::int64_t>();
      progress.seconds = row[5].as<double>();
      found.push_back(std::move(progress));
    }
    return found;
  });
}

std::string duration(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds);
  if (s < 120) return std::to_string(s) + " s";
  if (s < 7200) return std::to_string(s / 60) + " min";
  return std::to_string(s / 3600) + " h";
}

std::string text_of(const Progress& p) {
  const int filled = p.percent() * kBarWidth / 100;
  std::string line = p.table + "  " + p.state + "  [" +
                     std::string(static_cast<std::size_t>(filled), '#') +
                     std::string(static_cast<std::size_t>(kBarWidth - filled), '.') + "] " +
                     std::to_string(p.percent()) + "%  " + std::to_string(p.rows) + " rows";
  if (!p.ended()) line += " of about " + std::to_string(p.expected);
  if (p.rate() >= 1) line += ", " + std::to_string(static_cast<std::int64_t>(p.rate())) + " rows/s";
  if (p.state == "running" && p.rate() >= 1 && p.expected > p.rows)
    line += ", about " + duration(static_cast<double>(p.expected - p.rows) / p.rate()) + " left";
  if (!p.problem.empty()) line += "  (" + p.problem + ")";
  return line;
}

std::string json_of(const Progress& p) {
  return nlohmann::json{{"table", p.table},       {"state", p.state},
                        {"rows", p.rows},         {"rows_expected", p.expected},
                        {"percent", p.percent()}, {"rows_per_second", p.rate()},
                        {"problem", p.problem}}
      .dump();
}

void print(const std::vector<Progress>& all, bool json) {
  for (const auto& p : all) std::cout << (json ? json_of(p) : text_of(p)) << '\n';
  std::cout << std::flush;
}

// Those that had not ended when it began; or a table's, whatever it was.
int follow(const Config& config, const BackfillOptions& options) {
  const bool terminal = ::isatty(STDOUT_FILENO) == 1 && !options.json;
  std::optional<std::set<std::string>> followed;
  std::size_t lines = 0;
  while (true) {
    const auto all = read_progress(config, options.table);
    if (all.empty() && !options.table.empty()) {
      std::cout << "no backfill of " << options.table << " was ordered\n";
      return kExitNegative;
    }
    if (!followed) {
      followed.emplace();
      for (const auto& p : all)
        if (!p.ended() || !options.table.empty()) followed->insert(p.table);
    }
    if (terminal && lines > 0) std::printf("\033[%zuA\033[J", lines);
    print(all, options.json);
    lines = all.size();
    if (std::ranges::all_of(all, &Progress::ended))
      return std::ranges::all_of(all,
                                 [&](const Progress& p) {
                                   return p.state == "complete" || !followed->contains(p.table);
                                 })
                 ? kExitOk
                 : kExitNegative;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace

int run_backfill_start(const Config& config, const BackfillOptions& options) {
  // What a condition calls runs as the outbox's owner, so only that one may order it.
  const bool as_owner = options.where || options.replace;
  with_database(as_owner ? config.owner_conninfo : config.relay.source.conninfo,
                [&](pqxx::work& tx) {
                  return sql::exec(tx, "SELECT outbox.backfill_start($1, $2, $3, $4, $5, $6)",
                                   config.relay.source.name, options.table, options.where,
                                   options.replace, options.workers, options.rows_per_second)[0][0]
                      .as<std::int64_t>();
                });
  std::cout << "ordered   backfill of " << options.table << "; the running relay carries it out\n";
  return options.follow ? follow(config, options) : kExitOk;
}

int run_backfill_status(const Config& config, const BackfillOptions& options) {
  if (options.follow) return follow(config, options);
  const auto all = read_progress(config, options.table);
  print(all, options.json);
  if (all.empty() && !options.json) std::cout << "no backfill was ordered\n";
  return kExitOk;
}

int run_backfill_decision(const Config& config, const BackfillOptions& options,
                          const std::string& decision) {
  const auto state = with_database(
      config.relay.source.conninfo, [&](pqxx::work& tx) -> std::optional<std::string> {
        const auto row = sql::exec(tx, "SELECT outbox.backfill_decide($1, $2, $3)",
                                   config.relay.source.name, options.table, decision)[0];
        if (row[0].is_null()) return std::nullopt;
        return row[0].as<std::string>();
      });
  if (!state) {
    std::cout << "no backfill of " << options.table << " is under way: there is nothing to "
              << decision << '\n';
    return kExitNegative;
  }
  std::cout << decision << "  backfill of " << options.table << ": " << *state << '\n';
  return kExitOk;
}

}  // namespace postrider
