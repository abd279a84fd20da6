#include "readmodel/postgres/sql_projection.h"

#include <utility>

#include "base/postgres/sql.h"
#include "readmodel/postgres/event_arrays.h"
#include "readmodel/subject_pattern.h"

namespace postrider {

SqlProjection::SqlProjection(std::string subjects, std::string function)
    : subjects_(std::move(subjects)), function_(std::move(function)) {}

std::string SqlProjection::quoted_function(const pqxx::transaction_base& tx) const {
  const auto dot = function_.find('.');
  if (dot == std::string::npos) return tx.quote_name(function_);
  return tx.quote_name(function_.substr(0, dot)) + "." + tx.quote_name(function_.substr(dot + 1));
}

void SqlProjection::apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events) {
  EventArrays arrays;
  for (const auto& event : events)
    if (matches(subjects_, event.subject)) arrays.add(event);
  if (arrays.empty()) return;
  const std::string quoted = quoted_function(tx);
  std::apply(
      [&](const auto&... columns) {
        sql::exec(tx, "SELECT " + quoted + "(" + kToEvents + ")", columns...);
      },
      arrays.take());
}

}  // namespace postrider
