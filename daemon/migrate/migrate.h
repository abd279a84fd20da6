// `postrider migrate`: the outbox schema, its publication, checkpoint row and slot.
//
// Safe when two run at once (one advisory lock), and after a crash at any step: files are one
// transaction each, and a slot that no initialised row vouches for is dropped and made anew, since
// nothing can have been emitted before the row says so. Functions throw Failure; what they did goes
// to `out`, a line each.
#pragma once

#include <iosfwd>
#include <string>

namespace postrider {

struct MigrateOptions {
  std::string owner_conninfo;  // role that owns the schema
  std::string relay_conninfo;  // role with REPLICATION: the slot is made through it
  std::string source;
  std::string slot;
  std::string publication = "postrider";
};

void migrate_up(const MigrateOptions& options, std::ostream& out);
// Refuses while the slot exists, unless `drop_slot`: WAL that it holds back would be forgotten.
void migrate_down(const MigrateOptions& options, bool drop_slot, std::ostream& out);
// Adopts files that another tool applied, then makes publication, row and slot.
void migrate_baseline(const MigrateOptions& options, std::ostream& out);
// Returns true when everything is applied and initialised.
bool migrate_status(const MigrateOptions& options, std::ostream& out);
// Writes the up files one after another, as `psql -1` takes them.
void migrate_print(std::ostream& out);

}  // namespace postrider
