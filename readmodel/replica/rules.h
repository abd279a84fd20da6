// Which tables are replicas, and what is done about what their targets lack. Filled by daemon/ from
// [[replica]] and [[capture]].
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace postrider::replica {

enum class OnNewColumn : std::uint8_t {
  kHalt,
  kAdd,     // ALTER TABLE ADD COLUMN, with the type that the source's table has now
  kIgnore,  // the target has a part of the columns, by intent
};

struct Rule {
  std::string subjects;                    // NATS subject pattern; empty: every subject
  std::vector<std::string> tables{"*.*"};  // patterns schema.table of the source
  std::string schema;                      // of the target tables
  bool create = false;                     // a missing target table is made
  OnNewColumn on_new_column = OnNewColumn::kHalt;
};

// What a source's table gives to its events: [[capture]] of the same configuration. Columns by the
// table's own names.
struct Carried {
  std::vector<std::string> columns = {};  // empty: all
  std::vector<std::string> exclude = {};
  std::vector<std::string> mask = {};  // carried as text "***"
  std::vector<std::string> hash = {};  // carried as text: SHA-256 of the salt and the value's text
  std::string hash_salt = {};
  std::map<std::string, std::string> rename = {};  // own name: carried name
  std::string where = {};                          // SQL over a row; empty: all
  // Patterns of the subjects of its events; empty: not known.
  std::vector<std::string> subjects = {};

  [[nodiscard]] bool carries(const std::string& column) const {
    return (columns.empty() || std::ranges::find(columns, column) != columns.end()) &&
           std::ranges::find(exclude, column) == exclude.end();
  }
  [[nodiscard]] bool masks(const std::string& column) const {
    return std::ranges::find(mask, column) != mask.end();
  }
  [[nodiscard]] bool hashes(const std::string& column) const {
    return std::ranges::find(hash, column) != hash.end();
  }
};

struct CarriedColumn {
  std::size_t index = 0;  // among the table's
  std::string name;       // as events have it
};
// The carried ones of a table's columns, which are given in its order, without those that are not
// in the WAL. Names are the relay's: a new one that two would share is not given.
[[nodiscard]] std::vector<CarriedColumn> carried_columns(const Carried& carried,
                                                         const std::vector<std::string>& own_names);

// Nothing where the table is not captured.
using CarriedOf =
    std::function<std::optional<Carried>(const std::string& schema, const std::string& table)>;

struct Options {
  std::vector<Rule> rules;      // the first that takes a table counts
  std::string source_conninfo;  // for definitions of tables and columns; used only where needed
  CarriedOf carried;            // empty: not known, so everything
};

// True when the rule takes rows of that table.
[[nodiscard]] bool takes(const Rule& rule, const std::string& schema, const std::string& table);
struct FoundRule {
  const Rule* rule = nullptr;  // the first that takes events of the table; nullptr: none does
  bool whole = true;           // all of them, as far as it is known
};
[[nodiscard]] FoundRule find_rule(const Options& options, const std::string& schema,
                                  const std::string& table, const Carried& carried);
// Nothing where the table is known not to be captured.
[[nodiscard]] std::optional<Carried> carried_of(const Options& options, const std::string& schema,
                                                const std::string& table);

}  // namespace postrider::replica
