#include "readmodel/postgres/setup.h"

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "readmodel/postgres/translate.h"
#include "readmodel/progress/refusal.h"

namespace postrider {
namespace {

std::optional<std::uint64_t> cursor_ordinal(pqxx::transaction_base& tx,
                                            const std::string& readmodel) {
  const auto rows =
      sql::exec(tx, "SELECT ordinal FROM postrider.cursor WHERE readmodel = $1", readmodel);
  if (rows.empty()) return std::nullopt;
  return rows[0][0].as<std::uint64_t>();
}

std::string transaction_id(pqxx::transaction_base& tx) {
  return tx.exec("SELECT pg_current_xact_id()")[0][0].as<std::string>();
}

void run_file(pqxx::transaction_base& tx, const ReadModelOptions& options) {
  const std::string before = transaction_id(tx);
  try {
    tx.exec(options.setup_sql);
  } catch (const pqxx::sql_error& e) {
    if (is_transient(sql::sqlstate(e))) throw;
    throw Failure(ErrorKind::kConfiguration,
                  options.setup_file + ", in schema " + options.schema + ": " + e.what(),
                  "correct the file; nothing of it was kept");
  }
  if (transaction_id(tx) != before)
    throw Failure(ErrorKind::kConfiguration,
                  options.setup_file + " ends the transaction that it runs in",
                  "take BEGIN and COMMIT out of it, then DROP SCHEMA " + options.schema +
                      " CASCADE, and start again");
}

}  // namespace

bool schema_exists(pqxx::transaction_base& tx, const std::string& schema) {
  return !sql::exec(tx, "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1", schema).empty();
}

void make_schema(pqxx::transaction_base& tx, const ReadModelOptions& options) {
  try {
    tx.exec("CREATE SCHEMA " + tx.quote_name(options.schema));
  } catch (const pqxx::sql_error& e) {
    if (sql::sqlstate(e) != "42501") throw;
    throw Failure(ErrorKind::kNoPermission, e.what(),
                  "GRANT CREATE ON DATABASE ... TO the applier's role, so that it can run the "
                  "setup file; or make schema and tables by hand and remove readmodel.setup");
  }
  const std::string path = "SET search_path = " + tx.quote_name(options.schema) + ", public";
  tx.exec(path);
  run_file(tx, options);
  tx.exec(path);  // whatever the file has set
}

void make_cursor(pqxx::transaction_base& tx, const ReadModelOptions& options) {
  sql::exec(tx, "INSERT INTO postrider.cursor (readmodel, source, stream) VALUES ($1, $2, $3)",
            options.name, options.source, options.stream);
}

void set_up(pqxx::connection& connection, const ReadModelOptions& options) {
  if (options.setup_sql.empty()) return;
  translated([&] {
    pqxx::work tx(connection);
    const bool schema = schema_exists(tx, options.schema);
    const auto ordinal = cursor_ordinal(tx, options.name);
    if (schema && ordinal) return;
    if (schema)
      throw Failure(ErrorKind::kConfiguration,
                    "schema \"" + options.schema + "\" exists, but read model " + options.name +
                        " has no cursor: what the schema holds is not known",
                    "if it is left over: DROP SCHEMA " + options.schema +
                        " CASCADE, and start again; if its tables were made by hand and are "
                        "empty: remove readmodel.setup");
    if (ordinal.value_or(0) > 0)
      throw Failure(ErrorKind::kConfiguration,
                    "read model " + options.name + " has applied up to ordinal " +
                        std::to_string(*ordinal) + ", but its schema \"" + options.schema +
                        "\" is gone",
                    "build it anew: `postrider apply rebuild " + options.name + "`");
    make_schema(tx, options);
    if (!ordinal) make_cursor(tx, options);
    tx.commit();
  });
}

}  // namespace postrider
