#include "daemon/capture_config.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "daemon/config_table.h"
#include "daemon/subject_config.h"

namespace postrider {
namespace {

constexpr const char* kName = "[^.]+\\..+";
constexpr const char* kColumn = "[^]+";

// `refuse` throws.
template <class Refuse>
void require_consistent_columns(const CaptureRule& rule, Refuse refuse) {
  const auto holds = [](const std::vector<std::string>& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
  };
  const auto require_carried = [&](const char* key, const std::string& name) {
    if (holds(rule.exclude, name))
      refuse(std::string("column ") + name + " is in capture." + key + " and in capture.exclude",
             "keep one of them: what is excluded is not carried in any form");
    if (!rule.columns.empty() && !holds(rule.columns, name))
      refuse(
          std::string("column ") + name + " is in capture." + key + " and not in capture.columns",
          "add it to capture.columns, which names all that are carried");
  };
  for (const auto& name : rule.mask) require_carried("mask", name);
  for (const auto& name : rule.hash) {
    require_carried("hash", name);
    if (holds(rule.mask, name))
      refuse("column " + name + " is in capture.hash and in capture.mask", "keep one of them");
  }
  if (!rule.hash_salt.empty() && rule.hash.empty())
    refuse("capture.hash_salt is set and capture.hash is not", "hash = [\"email\"]");
  std::map<std::string, std::string> taken;
  for (const auto& name : rule.columns)
    if (!rule.rename.contains(name)) taken[name] = name;
  for (const auto& [from, to] : rule.rename) {
    require_carried("rename", from);
    if (const auto [other, fresh] = taken.emplace(to, from); !fresh)
      refuse("capture.rename: columns " + other->second + " and " + from + " would both be " + to,
             "give each a name of its own");
  }
}

}  // namespace

CaptureRule read_capture(const std::string& path, const toml::table& table) {
  using V = const ConfigValue&;
  CaptureRule rule;
  const std::string where = place_of(path, table);
  read_table(
      path, "capture", table,
      {
          {"capture", "tables", [&](V v) { rule.tables = v.list_matching(kName); }},
          {"capture", "subject", [&](V v) { rule.subject = v.text(); }},
          {"capture", "subject_column", [&](V v) { rule.subject_column = v.matching(kColumn); }},
          {"capture", "subject_values",
           [&](V v) { rule.subject_values = v.texts_by_name("[^]*"); }},
          {"capture", "format",
           [&](V v) {
             rule.format = v.one_of({"postrider", "debezium"}) == "debezium"
                               ? RowFormat::kDebezium
                               : RowFormat::kPostrider;
           }},
          {"capture", "tombstones", [&](V v) { rule.tombstones = v.boolean(); }},
          {"capture", "columns", [&](V v) { rule.columns = v.list_matching(kColumn); }},
          {"capture", "exclude", [&](V v) { rule.exclude = v.list_matching(kColumn); }},
          {"capture", "mask", [&](V v) { rule.mask = v.list_matching(kColumn); }},
          {"capture", "hash", [&](V v) { rule.hash = v.list_matching(kColumn); }},
          {"capture", "hash_salt", [&](V v) { rule.hash_salt = v.text(); }},
          {"capture", "rename", [&](V v) { rule.rename = v.texts_by_name(kColumn); }},
          {"capture", "where", [&](V v) { rule.where = v.text(); }},
          {"capture", "backfill", [&](V v) { rule.backfill = v.boolean(); }},
      });
  const auto refuse = [&](const std::string& what, const std::string& remedy) {
    throw Failure(ErrorKind::kConfiguration, where + ": " + what, remedy);
  };
  if (rule.tombstones && rule.format != RowFormat::kDebezium)
    refuse("capture.tombstones belongs to Debezium's envelope", "format = \"debezium\"");
  if (rule.tables.empty())
    refuse("capture.tables is not set", "tables = [\"public.orders\", \"sales.*\"]");
  if (!rule.columns.empty() && !rule.exclude.empty())
    refuse("capture.columns and capture.exclude exclude each other", "keep one of them");
  require_consistent_columns(rule, refuse);
  const std::vector<std::string> placeholders = {"schema", "table", "op", "key", "column:NAME"};
  require_subject(where + ": capture.subject", rule.subject, placeholders);
  for (const auto& [value, subject] : rule.subject_values)
    require_subject(where + ": capture.subject_values", subject, placeholders);
  if (rule.subject_column.empty() != rule.subject_values.empty())
    refuse("capture.subject_column and capture.subject_values need each other",
           "subject_column = \"region\", subject_values = { eu = \"cdc.eu.orders\" }");
  return rule;
}

}  // namespace postrider
