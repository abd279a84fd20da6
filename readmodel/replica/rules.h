// Which tables are replicas, and what is done about what their targets lack. Filled by daemon/ from
// [[replica]] and [[capture]].
#pragma once

#include <algorithm>
#include <functional>
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

// What a source's table gives to its events: [[capture]] of the same configuration.
struct Carried {
  std::vector<std::string> columns;  // empty: all
  std::vector<std::string> exclude;
  std::vector<std::string> mask;  // carried as text "***"
  std::string where;              // SQL over a row; empty: all

  [[nodiscard]] bool carries(const std::string& column) const {
    return (columns.empty() || std::ranges::find(columns, column) != columns.end()) &&
           std::ranges::find(exclude, column) == exclude.end();
  }
  [[nodiscard]] bool masks(const std::string& column) const {
    return std::ranges::find(mask, column) != mask.end();
  }
};

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
// The first rule that does, whatever its subjects; nullptr for none.
[[nodiscard]] const Rule* find_rule(const Options& options, const std::string& schema,
                                    const std::string& table);
// Nothing where the table is known not to be captured.
[[nodiscard]] std::optional<Carried> carried_of(const Options& options, const std::string& schema,
                                                const std::string& table);

}  // namespace postrider::replica
