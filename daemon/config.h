// The configuration: one TOML file, beaten by POSTRIDER_<SECTION>_<KEY> in the environment, beaten
// by section.key=value on the command line. PG* variables fill gaps by libpq itself, NATS_URL only
// where nats.url is not set. Sections that may be repeated ([[capture]] ...) stand in the file alone.
// A NATS identity replaces one of less weight, of whatever kind. Every key, with its default and
// reason, is in docs/operating.md.
//
// Whatever is unknown, out of range or contradictory refuses to load, with file, line and the
// nearest name: a misspelled key that is silently ignored is a setting that somebody believes in.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/migrate/migrate.h"
#include "daemon/readmodel_config.h"
#include "relay/options.h"

namespace postrider {

struct Config {
  RelayOptions relay;
  std::string owner_conninfo;                  // [migrate] conninfo
  std::string target_owner_conninfo;           // [migrate] target_conninfo
  std::string target_conninfo;                 // [target] conninfo
  std::optional<std::string> verify_conninfo;  // [source] verify_conninfo; nothing: the relay's
  std::vector<ReadModelConfig> readmodels;     // [[readmodel]] and what belongs to them
  std::optional<std::string> http_listen;      // [http] listen; nothing: off
  std::string log_level = "info";
  bool log_json = false;
  bool source_insecure = false;  // plain connections off loopback are accepted, by name
  bool nats_insecure = false;
  bool target_insecure = false;
  std::vector<std::string> warnings;  // what is accepted and should be seen: said by every command

  [[nodiscard]] MigrateOptions migrate_options() const;
};

// Throws Failure(kConfiguration). An empty path loads no file. `settings` are those of --set, each
// "section.key=value".
[[nodiscard]] Config load_config(const std::string& path,
                                 const std::vector<std::string>& settings = {});

}  // namespace postrider
