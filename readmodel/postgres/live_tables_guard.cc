#include "readmodel/postgres/live_tables_guard.h"

#include "base/error.h"
#include "base/postgres/sql.h"

namespace postrider {

void LiveTablesGuard::apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent>) {
  // Whatever a statement read or wrote stays locked until the transaction ends.
  const auto rows =
      sql::exec(tx,
                "SELECT c.relname FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = "
                "l.relation "
                "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                "WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.database = "
                "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) "
                "AND n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') LIMIT 1",
                live_schema_);
  if (rows.empty()) return;
  throw Failure(ErrorKind::kConfiguration,
                "a projection used " + live_schema_ + "." + rows[0][0].as<std::string>() +
                    ", a live table, instead of the new one",
                "functions and setup file must not name the schema \"" + live_schema_ +
                    "\": it comes first in their search_path");
}

}  // namespace postrider
