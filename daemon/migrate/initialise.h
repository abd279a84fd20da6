// The last steps of `postrider migrate up`: publication, checkpoint row, slot.
#pragma once

#include <chrono>
#include <iosfwd>

#include "base/postgres/sql.h"
#include "daemon/migrate/migrate.h"

namespace postrider {

// Making a slot waits for every transaction that is open: an abandoned one must not hang the
// deployment.
inline constexpr std::chrono::seconds kSlotTimeout{60};

// Idempotent. Order matters: the publication before the slot, so that the slot's history knows it;
// the row says `initialised` last, and only then does emit accept events: nothing is ever emitted
// before a slot covers it.
void initialise(pqxx::connection& owner, const MigrateOptions& options, std::ostream& out);

// Drops the slots and publications of this database's sources, or refuses.
void remove_slots(pqxx::connection& owner, const MigrateOptions& options, bool drop_slot,
                  std::ostream& out);

// True when source, both publications and slot are there, and captured tables published as they
// were.
bool print_initialisation(pqxx::connection& owner, const MigrateOptions& options,
                          std::ostream& out);

}  // namespace postrider
