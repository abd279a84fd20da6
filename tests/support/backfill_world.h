// A world with captured tables that have rows already, and what a reader makes of their stream.
#pragma once

#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/world.h"

namespace postrider::test {

inline constexpr dev::milliseconds kBackfillPatience{60'000};

class BackfillWorld : public World {
 protected:
  // Tables are the service's; chunks are read and locked by the outbox's owner.
  void make_tables(const std::string& statements) {
    app_sql(statements);
    grant();
  }
  void grant() { sql("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO owner"); }
  // The configuration of `captures`, as TOML, migrated and carried from now on.
  void capture(const std::string& captures) {
    captures_ = captures;
    ASSERT_EQ(postrider({"migrate", "up", "--config", config("capture")}), 0) << output();
  }
  std::string config(const std::string& name) {
    auto settings = quick();
    settings["migrate.conninfo"] = "\"" + superuser() + "\"";
    const auto path = write_config(settings, name);
    std::ofstream(path, std::ios::app) << captures_;
    return path.string();
  }
  std::unique_ptr<RelayProcess> relay(const std::string& failpoints = {},
                                      const std::vector<std::string>& arguments = {}) {
    return std::make_unique<RelayProcess>(config("relay"), folder_ / "relay.log", failpoints,
                                          arguments);
  }
  void carry() {
    const auto process = relay({}, {"--until-caught-up"});
    ASSERT_EQ(process->wait(kBackfillPatience), 0) << process->log();
  }
  int backfill(const std::string& what, const std::string& table,
               const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"backfill", what, table, "--config", config("command")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return postrider(arguments);
  }
  std::string state_of(const std::string& table) {
    return sql("SELECT state FROM outbox.backfill WHERE table_name = '" + table +
               "' ORDER BY id DESC LIMIT 1");
  }
  [[nodiscard]] bool wait_for_state(const std::string& table, const std::string& state) {
    return wait_for([&] { return state_of(table) == state; });
  }
  template <class Condition>
  [[nodiscard]] static bool wait_for(Condition condition) {
    return dev::wait_until(std::move(condition), kBackfillPatience);
  }
  std::vector<StreamMessage> stream() { return nats_client().read_stream(kStream); }
  // Row changes of a table, in order.
  std::vector<nlohmann::json> changes(const std::string& table) {
    std::vector<nlohmann::json> found;
    if (!wait_for([&] { return nats_client().has_stream(kStream); })) return found;
    for (const auto& message : stream())
      if (message.subject == "shop.cdc.public." + table)
        found.push_back(nlohmann::json::parse(message.data));
    return found;
  }

  using Rows = std::map<int, nlohmann::json>;
  // What a reader has of a table with the key `id` after these changes.
  static Rows copy_of(const std::vector<nlohmann::json>& changes) {
    Rows rows;
    for (const auto& change : changes) {
      const std::string op = change["op"];
      if (op == "truncate") {
        rows.clear();
        continue;
      }
      nlohmann::json old_row;
      if (const auto& from = change.contains("old") ? change["old"] : change["new"]; op != "insert")
        if (const auto found = rows.find(from["id"].get<int>()); found != rows.end()) {
          old_row = found->second;
          rows.erase(found);
        }
      if (op == "delete") continue;
      nlohmann::json row = change["new"];
      bool whole = true;
      for (const auto& column : change.value("unchanged", nlohmann::json::array())) {
        whole = whole && old_row.is_object();
        if (whole) row[column.get<std::string>()] = old_row[column.get<std::string>()];
      }
      if (whole) rows[row["id"].get<int>()] = row;  // else a backfill brings it yet
    }
    return rows;
  }
  Rows rows_of(const std::string& table) {
    Rows rows;
    const auto json = nlohmann::json::parse(
        sql("SELECT coalesce(json_agg(to_json(t)), '[]') FROM " + table + " AS t"));
    for (const auto& row : json) rows[row["id"].get<int>()] = row;
    return rows;
  }

  std::string captures_;
};

}  // namespace postrider::test
