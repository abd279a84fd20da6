// The schemas of a rebuild: NAME's new tables grow in SCHEMA__rebuild with cursor row NAME/rebuild,
// and take SCHEMA's name in one transaction; the old ones are SCHEMA__old until they are dropped.
//
// Which schemas are ours is written in their comments: one that merely has such a name is never
// touched. Functions throw Failure.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/postgres/sql.h"
#include "readmodel/options.h"

namespace postrider {

// The options of the new tables' applier: other name, other schema, ends when caught up.
[[nodiscard]] ReadModelOptions rebuild_options(const ReadModelOptions& live);

// How often the read model was rebuilt, plus one. kConfiguration when it was never applied.
[[nodiscard]] std::int64_t generation_of(pqxx::connection& connection, const std::string& live);

// Refuses what the swap could not do: another owner's schema, objects elsewhere that depend on the
// live tables (they would go on reading the old ones, and be dropped with them).
void require_swappable(pqxx::connection& connection, const ReadModelOptions& live);
// Throws kConfiguration while objects outside of `schema` depend on what lies within.
void require_independent(pqxx::transaction_base& tx, const std::string& schema);

// The tables of a schema, as LOCK TABLE wants them; empty for none.
[[nodiscard]] std::string tables_in(pqxx::transaction_base& tx, const std::string& schema);
// Locks them against everybody, waiting shortly. False when they are in use; `tx` has failed then.
[[nodiscard]] bool try_lock_tables(pqxx::transaction_base& tx, const std::string& tables);

enum class Begun { kAnew, kGoesOn };
// Makes the new schema and its cursor row, or finds those of an interrupted rebuild. One that was
// made by another setup file is dropped and begun again. What a projection refused is tried again.
[[nodiscard]] Begun begin_rebuild(pqxx::connection& connection, const ReadModelOptions& live);

// Drops SCHEMA__old, if it is ours. False when somebody still uses its tables. It stays, and an
// error is logged, while objects outside depend on it: they are not ours to drop.
[[nodiscard]] bool drop_old_schema(pqxx::connection& connection, const std::string& schema);

}  // namespace postrider
