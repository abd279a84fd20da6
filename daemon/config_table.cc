#include "daemon/config_table.h"

#include <algorithm>

#include "base/error.h"

namespace postrider {

std::string place_of(const std::string& path, const toml::node& node) {
  return path + ":" + std::to_string(node.source().begin.line);
}

void read_table(const std::string& path, const std::string& section, const toml::table& table,
                const std::vector<ConfigKey>& keys) {
  for (const auto& [name_key, node] : table) {
    const std::string name(name_key.str());
    const auto key = std::ranges::find(keys, name, &ConfigKey::name);
    if (key == keys.end()) {
      std::vector<std::string> names;
      for (const auto& k : keys) names.push_back(k.name);
      throw Failure(
          ErrorKind::kConfiguration,
          place_of(path, node) + ": unknown key \"" + section + "." + name + "\"",
          "did you mean \"" + nearest_name(section + "." + name, prefixed(section, names)) + "\"?");
    }
    key->set(ConfigValue::from_toml(place_of(path, node) + ": " + section + "." + name, node));
  }
}

}  // namespace postrider
