#include "readmodel/postgres/decision.h"

#include "base/postgres/conninfo.h"
#include "base/postgres/sql.h"
#include "readmodel/postgres/translate.h"

namespace postrider {

std::optional<Stop> decide_stop(const std::string& conninfo, const std::string& readmodel,
                                const std::string& decision, std::optional<std::uint64_t> ordinal) {
  return translated([&]() -> std::optional<Stop> {
    pqxx::connection connection(with_defaults(conninfo, liveness_defaults()));
    pqxx::work tx(connection);
    const auto rows =
        sql::exec(tx,
                  "SELECT first_ordinal, position, projection, error FROM postrider.stopped "
                  "WHERE readmodel = $1 FOR UPDATE",
                  readmodel);
    if (rows.empty()) return std::nullopt;
    Stop stop;
    stop.first_ordinal = rows[0][0].as<std::uint64_t>();
    stop.position = rows[0][1].as<std::string>();
    stop.projection = rows[0][2].as<std::string>();
    stop.error = rows[0][3].as<std::string>();
    if (ordinal && *ordinal != stop.first_ordinal) return stop;
    sql::exec(tx,
              "UPDATE postrider.stopped SET decision = $2, decided_by = session_user "
              "WHERE readmodel = $1",
              readmodel, decision);
    stop.decision = decision;
    tx.commit();
    return stop;
  });
}

}  // namespace postrider
