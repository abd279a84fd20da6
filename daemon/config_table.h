// Reads one table of the configuration file by a list of its keys.
#pragma once

#include <toml++/toml.h>

#include <functional>
#include <string>
#include <vector>

#include "daemon/config_values.h"

namespace postrider {

struct ConfigKey {
  std::string section;
  std::string name;
  std::function<void(const ConfigValue&)> set;
};

// "file:line" of a node.
[[nodiscard]] std::string place_of(const std::string& path, const toml::node& node);

// Sets each key of the table. Throws Failure(kConfiguration), with the nearest name, for one that
// is not in `keys`.
void read_table(const std::string& path, const std::string& section, const toml::table& table,
                const std::vector<ConfigKey>& keys);

}  // namespace postrider
