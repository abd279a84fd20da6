#include "tests/support/replica_world.h"

#include <fstream>

namespace postrider::test {
namespace {

constexpr dev::milliseconds kPatience{90'000};

}  // namespace

ReplicaWorld::ReplicaWorld() {
  sql("DROP TABLE holder CASCADE; DROP TABLE written CASCADE");
}

void ReplicaWorld::replicate(const std::string& captures, const std::string& replicas,
                             const std::string& readmodel_keys) {
  captures_ = captures;
  replicas_ = replicas;
  readmodel_keys_ = readmodel_keys;
  ASSERT_EQ(postrider({"migrate", "up", "--config", replica_config("migrate")}), 0) << output();
}

std::string ReplicaWorld::replica_config(const std::string& name) {
  auto settings = quick();
  settings["migrate.conninfo"] = "\"" + superuser() + "\"";  // the tables are the service's
  settings["source.verify_conninfo"] = "\"" + superuser() + "\"";
  settings["target.conninfo"] = "\"" + target_conninfo("applier") + "\"";
  settings["migrate.target_conninfo"] = "\"" + target_conninfo("owner") + "\"";
  const auto path = write_config(settings, name);
  std::ofstream(path, std::ios::app) << captures_ << "\n[[readmodel]]\nname = \"copy\"\n"
                                     << readmodel_keys_ << "\n"
                                     << replicas_;
  return path.string();
}

std::unique_ptr<RelayProcess> ReplicaWorld::start(const std::string& command,
                                                  const std::string& failpoints,
                                                  const std::vector<std::string>& arguments) {
  const auto name = command + std::to_string(++processes_);
  return std::make_unique<RelayProcess>(replica_config(name), folder_ / (name + ".log"), failpoints,
                                        arguments, command);
}

int ReplicaWorld::carry() {
  const auto relay = start("relay", {}, {"--until-caught-up"});
  EXPECT_EQ(relay->wait(kPatience), 0) << relay->log();
  const auto applier = start("apply", {}, {"--until-caught-up"});
  const auto status = applier->wait(kPatience);
  applied_log_ = applier->log();
  EXPECT_TRUE(status.has_value()) << "the applier does not end: " << applied_log_;
  return status.value_or(-1);
}

int ReplicaWorld::verify() {
  // Somebody must apply and announce.
  const auto relay = start("relay");
  const auto applier = start("apply");
  return postrider({"verify", "copy", "--config", replica_config("verify")});
}

std::string ReplicaWorld::rows(const std::string& table) {
  return "SET DateStyle = ISO; SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'; SET "
         "lc_monetary = 'C'; SELECT "
         "coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '') FROM (SELECT "
         "whole::text AS line FROM " +
         table + " AS whole) l";
}

void ReplicaWorld::expect_same(const std::string& table) {
  EXPECT_EQ(target_sql(rows(table)), sql(rows(table))) << table;
}

}  // namespace postrider::test
