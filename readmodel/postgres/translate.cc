#include "readmodel/postgres/translate.h"

namespace postrider {

Error translate_target(const pqxx::sql_error& e) {
  const std::string state = sql::sqlstate(e);
  if (state == "42501" || state.starts_with("28"))
    return {ErrorKind::kNoPermission, e.what(),
            "GRANT postrider_applier to the applier's role, and what its projections need "
            "(docs/operating.md, \"Roles\")"};
  if (state == "42P01" || state == "3F000" || state == "42883")  // no such table, schema, function
    return {ErrorKind::kSchemaVersion, e.what(), "run `postrider migrate up --target`"};
  return {ErrorKind::kPostgresUnavailable, e.what(), ""};
}

}  // namespace postrider
