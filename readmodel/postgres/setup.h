// A read model's tables, made by its setup file in a schema of its own.
//
// The file runs as the applier's role with the schema first in the search_path, and must not name
// the schema: a rebuild runs the same file in another one, which takes the schema's name later.
// Functions throw Failure.
#pragma once

#include <string>

#include "base/postgres/sql.h"
#include "readmodel/options.h"

namespace postrider {

// Makes schema, tables and cursor row in one transaction, unless all are there. kConfiguration when
// only a part is there, or the file fails (nothing of it is kept); kNoPermission when the role may
// not make schemas. Nothing to do without a setup file.
void set_up(pqxx::connection& connection, const ReadModelOptions& options);

// The parts of it: the schema and what the file makes there; the cursor row, at the beginning.
void make_schema(pqxx::transaction_base& tx, const ReadModelOptions& options);
void make_cursor(pqxx::transaction_base& tx, const ReadModelOptions& options);

[[nodiscard]] bool schema_exists(pqxx::transaction_base& tx, const std::string& schema);

}  // namespace postrider
