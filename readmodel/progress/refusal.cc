#include "readmodel/progress/refusal.h"

#include <algorithm>
#include <array>

namespace postrider {

bool is_transient(std::string_view sqlstate) {
  // Connection, insufficient resources, operator intervention, system error; an empty state means
  // that the server did not even answer.
  constexpr std::array<std::string_view, 4> kClasses = {"08", "53", "57", "58"};
  constexpr std::array<std::string_view, 6> kStates = {
      "40001",  // serialization_failure
      "40P01",  // deadlock_detected
      "40003",  // statement_completion_unknown
      "55P03",  // lock_not_available
      "55006",  // object_in_use
      "25006",  // read_only_sql_transaction: a standby, soon promoted
  };
  return sqlstate.empty() ||
         std::ranges::any_of(kClasses, [&](auto c) { return sqlstate.starts_with(c); }) ||
         std::ranges::find(kStates, sqlstate) != kStates.end();
}

bool blames_event(std::string_view sqlstate) {
  // Syntax error or access rule violation; no such schema; a handler that caught an SQL error.
  return !sqlstate.starts_with("42") && sqlstate != "3F000" && sqlstate != "25P02";
}

}  // namespace postrider
