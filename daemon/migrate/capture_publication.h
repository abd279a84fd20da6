// The publication of captured tables, as [[capture]] wants it; its name is capture_publication().
#pragma once

#include <iosfwd>

#include "base/postgres/sql.h"
#include "daemon/migrate/migrate.h"

namespace postrider {

// Makes it, empty, where it is missing. Before the slot is made: the server looks publications up
// as they were at each commit that it decodes, so one that is younger than the slot's WAL would be
// missing there.
void make_capture_publication(pqxx::connection& owner, const MigrateOptions& options,
                              std::ostream& out);

// Publishes what [[capture]] names, with flags and filters, and no other table; in one transaction
// with the checkpoint row that vouches for it, so that a running relay sees both or neither.
// Changes nothing where nothing differs. Needs that row. Throws Failure with the remedy for a table
// or filter that cannot be captured, and for tables that the role does not own.
void publish_captured_tables(pqxx::connection& owner, const MigrateOptions& options,
                             std::ostream& out);

// One line of `postrider migrate status`; false when it is missing or not as it was made.
bool print_capture_publication(pqxx::transaction_base& tx, const MigrateOptions& options,
                               std::ostream& out);

}  // namespace postrider
