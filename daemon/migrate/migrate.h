// `postrider migrate`: the outbox schema, its publication, checkpoint row and slot; and the schema
// of the read models.
//
// Safe when two run at once (one advisory lock), and after a crash at any step: files are one
// transaction each, and a slot that no initialised row vouches for is dropped and made anew, since
// nothing can have been emitted before the row says so. Functions throw Failure; what they did goes
// to `out`, a line each.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "relay/progress/outbox_rule.h"

namespace postrider {

struct MigrateOptions {
  std::string owner_conninfo;  // role that owns the schema
  std::string relay_conninfo;  // role with REPLICATION: the slot is made through it
  std::string source;
  std::string slot;
  std::string publication = "postrider";
  std::vector<CaptureRule> captures = {};
  std::vector<OutboxRule> outboxes = {};
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

// The same for a database that holds read models: schema postrider, without publication and slot.
// `owner_conninfo` is of the role that owns the schema there.
void migrate_target_up(const std::string& owner_conninfo, std::ostream& out);
// Drops every cursor: the read models' own tables stay, and can only be rebuilt.
void migrate_target_down(const std::string& owner_conninfo, std::ostream& out);
void migrate_target_baseline(const std::string& owner_conninfo, std::ostream& out);
bool migrate_target_status(const std::string& owner_conninfo, std::ostream& out);
void migrate_target_print(std::ostream& out);

}  // namespace postrider
