// What a rule makes of a table's columns: which are carried, under which names, and whose values
// are replaced. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "relay/progress/capture_rule.h"
#include "relay/wire/pgoutput.h"

namespace postrider {

struct CapturedColumn {
  enum class Value : std::uint8_t { kAsItIs, kMasked, kHashed };

  std::size_t index = 0;  // in the tuples
  std::string name;       // as it is carried
  std::string own_name;   // the table's
  std::uint32_t type = 0;
  bool key = false;
  Value value = Value::kAsItIs;

  // True where the value is carried as text of ours, whatever its type.
  [[nodiscard]] bool replaced() const { return value != Value::kAsItIs; }
};

// The carried columns, in the table's order; no two have the same name. A new name that another
// carried column has already, which the table came to have after the rule was made, is not given.
[[nodiscard]] std::vector<CapturedColumn> captured_columns(const wire::Relation& relation,
                                                           const CaptureRule& rule);

// A row whose masked and hashed columns are replaced, in memory that is reused. NULL stays NULL,
// and what the WAL does not hold stays so.
class ReplacedRow {
 public:
  // Views `row` and itself; valid until the next call.
  [[nodiscard]] const wire::Tuple& of(const wire::Tuple& row,
                                      const std::vector<CapturedColumn>& columns,
                                      const std::string& salt);

 private:
  wire::Tuple row_;
  std::vector<std::string> hashes_;  // a slot for each column
};

}  // namespace postrider
