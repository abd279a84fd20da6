#include "readmodel/postgres/sql_projection.h"

#include <utility>

#include "base/postgres/sql.h"
#include "readmodel/postgres/event_arrays.h"
#include "readmodel/subject_pattern.h"

namespace postrider {

SqlProjection::SqlProjection(std::string subjects, std::string function)
    : subjects_(std::move(subjects)), function_(std::move(function)) {}

void SqlProjection::apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events) {
  EventArrays arrays;
  for (const auto& event : events)
    if (matches(subjects_, event.subject)) arrays.add(event);
  if (arrays.empty()) return;
  std::string quoted;
  const auto dot = function_.find('.');
  if (dot != std::string::npos) quoted = tx.quote_name(function_.substr(0, dot)) + ".";
  quoted += tx.quote_name(dot == std::string::npos ? function_ : function_.substr(dot + 1));
  std::apply(
      [&](const auto&... columns) {
        sql::exec(tx, "SELECT " + quoted + "(" + kToEvents + ")", columns...);
      },
      arrays.take());
}

}  // namespace postrider
