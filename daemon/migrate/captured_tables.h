// The tables that [[capture]] names, as the source's catalog has them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/postgres/sql.h"
#include "relay/progress/capture_rule.h"

namespace postrider {

struct CapturableTable {
  std::string name;  // quoted, with its schema
  const CaptureRule* rule = nullptr;
  bool named = false;      // by itself, not only by a pattern
  bool published = false;  // by the capture publication
  std::string problem;     // why it cannot be captured; empty: it can
  std::string remedy;
  std::vector<std::string> columns = {};
  bool partitioned = false;
  std::string owner = {};  // where the asking role does not have its rights; empty: it does
};

// Permanent tables, partitioned ones by their root, outside of the system's schemas and Postrider's
// own, in the order of their names; and one line for each exact name that is no such table.
// `publication` is the source's.
[[nodiscard]] std::vector<CapturableTable> find_capturable_tables(
    pqxx::transaction_base& tx, const std::vector<CaptureRule>& rules,
    const std::string& publication);

// Tables that the capture publication holds and no rule names, quoted: a captured one that was
// renamed, or one that somebody added. Their changes are decoded, and not carried.
[[nodiscard]] std::vector<std::string> published_without_rule(pqxx::transaction_base& tx,
                                                              const std::vector<CaptureRule>& rules,
                                                              const std::string& publication);

// Columns that the rule speaks of and none of its tables has; nothing where it has no table. A
// misspelt name in `hash` or `exclude` would carry what must not be carried.
[[nodiscard]] std::vector<std::string> unknown_columns(const CaptureRule& rule,
                                                       const std::vector<CapturableTable>& tables);

}  // namespace postrider
