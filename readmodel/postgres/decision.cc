#include "readmodel/postgres/decision.h"

#include "base/postgres/conninfo.h"
#include "base/postgres/sql.h"
#include "readmodel/postgres/translate.h"

namespace postrider {

std::optional<Stop> decide_stop(const std::string& conninfo, const std::string& readmodel,
                                const std::string& decision) {
  return translated([&]() -> std::optional<Stop> {
    pqxx::connection connection(with_defaults(conninfo, liveness_defaults()));
    pqxx::work tx(connection);
    const auto rows =
        sql::exec(tx,
                  "UPDATE postrider.stopped SET decision = $2, decided_by = session_user "
                  "WHERE readmodel = $1 RETURNING first_ordinal, position, projection, error",
                  readmodel, decision);
    if (rows.empty()) return std::nullopt;
    Stop stop;
    stop.first_ordinal = rows[0][0].as<std::uint64_t>();
    stop.position = rows[0][1].as<std::string>();
    stop.projection = rows[0][2].as<std::string>();
    stop.error = rows[0][3].as<std::string>();
    tx.commit();
    return stop;
  });
}

}  // namespace postrider
