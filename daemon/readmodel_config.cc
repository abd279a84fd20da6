#include "daemon/readmodel_config.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "daemon/config_table.h"
#include "daemon/config_values.h"
#include "readmodel/subject_pattern.h"

namespace postrider {
namespace {

using Key = ConfigKey;
using V = const ConfigValue&;

constexpr const char* kIdentifier = "[A-Za-z_][A-Za-z0-9_$]{0,62}";

std::vector<Key> readmodel_keys(ReadModelConfig& config) {
  ReadModelOptions& o = config.options;
  return {
      {"readmodel", "name", [&](V v) { o.name = v.matching("[a-z0-9_]{1,40}"); }},
      {"readmodel", "source", [&](V v) { o.source = v.matching("[a-z0-9_-]{1,40}"); }},
      {"readmodel", "stream", [&](V v) { o.stream = v.matching("[A-Za-z0-9_-]{1,64}"); }},
      {"readmodel", "schema", [&](V v) { o.schema = v.matching(kIdentifier); }},
      {"readmodel", "setup", [&](V v) { o.setup_file = v.text(); }},
      {"readmodel", "on_poison",
       [&](V v) {
         o.on_poison = v.one_of({"stop", "park"}) == "stop" ? OnPoison::kStop : OnPoison::kPark;
       }},
      {"readmodel", "batch_events",
       [&](V v) { o.batch_events = static_cast<std::size_t>(v.integer(1, 100'000)); }},
      {"readmodel", "batch_bytes",
       [&](V v) { o.batch_bytes = static_cast<std::size_t>(v.integer(4096, 64LL << 20U)); }},
      {"readmodel", "takeover_after",
       [&](V v) { o.takeover_after = v.duration(1000, minutes(10)); }},
      {"readmodel", "retention_warning_percent",
       [&](V v) { o.retention_warning = static_cast<double>(v.integer(1, 99)) / 100; }},
  };
}

std::vector<Key> projection_keys(ProjectionConfig& config) {
  return {
      {"projection", "readmodel", [&](V v) { config.readmodel = v.matching("[a-z0-9_]{1,40}"); }},
      {"projection", "subjects", [&](V v) { config.subjects = v.text(); }},
      {"projection", "function",
       [&](V v) {
         config.function =
             v.matching("([A-Za-z_][A-Za-z0-9_$]{0,62}\\.)?[A-Za-z_][A-Za-z0-9_$]{0,62}");
       }},
  };
}

std::vector<Key> replica_keys(ReplicaConfig& config) {
  using replica::OnNewColumn;
  replica::Rule& r = config.rule;
  return {
      {"replica", "readmodel", [&](V v) { config.readmodel = v.matching("[a-z0-9_]{1,40}"); }},
      {"replica", "subjects", [&](V v) { r.subjects = v.text(); }},
      {"replica", "tables", [&](V v) { r.tables = v.list_matching("[^.]+\\..+"); }},
      {"replica", "schema", [&](V v) { r.schema = v.matching("[^]{1,63}"); }},
      {"replica", "create", [&](V v) { r.create = v.boolean(); }},
      {"replica", "on_new_column",
       [&](V v) {
         const auto choice = v.one_of({"halt", "add", "ignore"});
         r.on_new_column = choice == "halt"  ? OnNewColumn::kHalt
                           : choice == "add" ? OnNewColumn::kAdd
                                             : OnNewColumn::kIgnore;
       }},
  };
}

std::vector<Key> verify_keys(VerifyConfig& config) {
  Comparison& c = config.comparison;
  return {
      {"verify", "readmodel", [&](V v) { config.readmodel = v.matching("[a-z0-9_]{1,40}"); }},
      {"verify", "name", [&](V v) { c.name = v.matching("[A-Za-z0-9_.-]{1,60}"); }},
      {"verify", "source", [&](V v) { c.source_query = v.text(); }},
      {"verify", "target", [&](V v) { c.target_query = v.text(); }},
      {"verify", "key", [&](V v) { c.key = v.list_matching("[^\"]{1,63}"); }},
  };
}

[[noreturn]] void refuse(const std::string& where, const std::string& what,
                         const std::string& remedy) {
  throw Failure(ErrorKind::kConfiguration, where + ": " + what, remedy);
}

void check_pattern(const std::string& where, const char* key, const std::string& pattern,
                   const std::string& source) {
  const bool reaches =
      pattern == ">" || pattern.starts_with(source + ".") || pattern.starts_with("*.");
  if (!is_valid_pattern(pattern) || !reaches)
    refuse(where, std::string(key) + " \"" + pattern + "\" matches no event",
           "a NATS subject pattern that begins with the source's name: \"" + source + ".>\"");
}

// Definitions are read from the source that [source] leads to.
void check_source(const ReplicaConfig& replica, const ReadModelConfig& readmodel,
                  const std::string& source) {
  const bool asks = replica.rule.create || replica.rule.on_new_column == replica::OnNewColumn::kAdd;
  if (asks && readmodel.options.source != source)
    refuse(replica.where,
           "replica.create and on_new_column = \"add\" look at source \"" +
               readmodel.options.source + "\", but [source] is \"" + source + "\"",
           "use a configuration file whose [source] is that one, or make tables by hand");
}

// A read model with a setup file is replaced schema and all by a rebuild: nobody else may live
// there.
void check_setup(const ReadModelConfig& readmodel, const std::vector<ReadModelConfig>& all) {
  const ReadModelOptions& o = readmodel.options;
  if (o.setup_file.empty()) return;
  if (o.schema == "public")
    refuse(readmodel.where, "readmodel.setup needs a schema of the read model's own",
           "add schema = \"" + o.name + "\"");
  constexpr std::size_t kMostCharacters = 54;  // "__rebuild" is added, and PostgreSQL cuts at 63
  if (o.schema.size() > kMostCharacters)
    refuse(readmodel.where, "readmodel.schema \"" + o.schema + "\" is too long for a rebuild",
           "at most 54 characters where there is a setup");
  if (std::ranges::count(all, o.schema, [](const auto& r) { return r.options.schema; }) > 1)
    refuse(readmodel.where, "schema \"" + o.schema + "\" belongs to several read models",
           "a read model with a setup needs a schema of its own");
}

}  // namespace

ReadModelOptions with_setup(const ReadModelConfig& config) {
  ReadModelOptions options = config.options;
  if (options.setup_file.empty()) return options;
  std::ifstream file(options.setup_file, std::ios::binary);
  options.setup_sql = {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file || options.setup_sql.empty())
    refuse(config.where,
           "readmodel.setup: " + options.setup_file + (file ? " is empty" : " cannot be read"),
           "a file of SQL beside the configuration, that makes the tables of read model " +
               options.name);
  return options;
}

void read_repeated_table(const std::string& path, const std::string& section,
                         const toml::table& table, ReadModelTables& into) {
  const std::string where = place_of(path, table);
  if (section == "readmodel") {
    ReadModelConfig config;
    config.where = where;
    read_table(path, section, table, readmodel_keys(config));
    if (config.options.name.empty()) refuse(where, "readmodel.name is not set", "name it");
    // Beside the configuration file, wherever the program was started.
    auto& setup = config.options.setup_file;
    if (!setup.empty()) setup = (std::filesystem::path(path).parent_path() / setup).string();
    into.readmodels.push_back(std::move(config));
    return;
  }
  if (section == "verify") {
    VerifyConfig config;
    config.where = where;
    read_table(path, section, table, verify_keys(config));
    if (config.comparison.source_query.empty() || config.comparison.target_query.empty() ||
        config.comparison.key.empty())
      refuse(where, "a comparison needs source, target and key",
             "source = \"SELECT id, cents FROM account\", target = \"SELECT id, cents FROM "
             "balance\", key = [\"id\"]");
    into.comparisons.push_back(std::move(config));
    return;
  }
  if (section == "replica") {
    ReplicaConfig config;
    config.where = where;
    read_table(path, section, table, replica_keys(config));
    into.replicas.push_back(std::move(config));
    return;
  }
  ProjectionConfig config;
  config.where = where;
  read_table(path, section, table, projection_keys(config));
  if (config.subjects.empty() || config.function.empty())
    refuse(where, "a projection needs subjects and function",
           "subjects = \"shop.order.>\" and function = \"apply_orders\"");
  into.projections.push_back(std::move(config));
}

std::vector<ReadModelConfig> complete(ReadModelTables tables, const ReadModelOptions& defaults) {
  auto& readmodels = tables.readmodels;
  for (auto& readmodel : readmodels) {
    ReadModelOptions& o = readmodel.options;
    if (o.source.empty()) o.source = defaults.source;
    if (o.stream.empty()) o.stream = defaults.stream;
    o.target_conninfo = defaults.target_conninfo;
    o.nats = defaults.nats;
    if (std::ranges::count(readmodels, o.name, [](const auto& r) { return r.options.name; }) > 1)
      refuse(readmodel.where, "read model \"" + o.name + "\" is there twice", "names are unique");
  }
  const auto owner = [&](const std::string& where, const char* key, const std::string& name) {
    if (name.empty() && readmodels.size() == 1) return readmodels.begin();
    const auto found =
        std::ranges::find(readmodels, name, [](const auto& r) { return r.options.name; });
    if (found != readmodels.end()) return found;
    std::vector<std::string> names;
    for (const auto& readmodel : readmodels) names.push_back(readmodel.options.name);
    refuse(where, std::string(key) + " \"" + name + "\" is no [[readmodel]]",
           names.empty() ? "add a [[readmodel]] with that name"
                         : "did you mean \"" + nearest_name(name, names) + "\"?");
  };
  for (auto& projection : tables.projections) {
    const auto found = owner(projection.where, "projection.readmodel", projection.readmodel);
    projection.readmodel = found->options.name;
    check_pattern(projection.where, "projection.subjects", projection.subjects,
                  found->options.source);
    found->projections.push_back(std::move(projection));
  }
  for (auto& replica : tables.replicas) {
    const auto found = owner(replica.where, "replica.readmodel", replica.readmodel);
    if (!replica.rule.subjects.empty())
      check_pattern(replica.where, "replica.subjects", replica.rule.subjects,
                    found->options.source);
    check_source(replica, *found, defaults.source);
    if (replica.rule.schema.empty()) replica.rule.schema = found->options.schema;
    found->replicas.rules.push_back(std::move(replica.rule));
  }
  for (const auto& readmodel : readmodels) check_setup(readmodel, readmodels);
  for (auto& verify : tables.comparisons) {
    const auto found = owner(verify.where, "verify.readmodel", verify.readmodel);
    Comparison& comparison = verify.comparison;
    if (comparison.name.empty()) comparison.name = found->options.name;
    for (const auto& other : found->comparisons)
      if (other.name == comparison.name)
        refuse(verify.where,
               "verify.name \"" + other.name + "\" is there twice for read model \"" +
                   found->options.name + "\"",
               "give each comparison of a read model a name of its own");
    found->comparisons.push_back(std::move(comparison));
  }
  for (const auto& readmodel : readmodels)
    if (readmodel.projections.empty() && readmodel.replicas.rules.empty())
      refuse(readmodel.where,
             "read model \"" + readmodel.options.name + "\" has no projection and no replica",
             "add a [[projection]] or a [[replica]] with readmodel = \"" + readmodel.options.name +
                 "\"");
  return std::move(readmodels);
}

}  // namespace postrider
