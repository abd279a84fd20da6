// What becomes of the model's server as a whole.
#include <algorithm>
#include <cstdio>

#include "tests/simulator/model_postgres.h"

namespace postrider::sim {

// Its clock goes on: what is committed now is told from what was by its time alone.
void ModelPostgres::restore(const Cluster& backup, bool with_slot) {
  crash();
  disk_ = backup;
  disk_.slot.confirmed = disk_.slot.saved;
  disk_.slot.exists = disk_.slot.exists && with_slot;
}

void ModelPostgres::promote(Lsn fork, bool with_slot) {
  crash();
  std::erase_if(disk_.wal, [&](const auto& transaction) { return transaction.end_lsn > fork; });
  while (disk_.rows.size() > 1 && disk_.rows.back().first > fork) disk_.rows.pop_back();
  disk_.row = disk_.rows.back().second;
  char line[64];
  std::snprintf(line, sizeof line, "%u\t%X/%X\tno recovery target specified\n", disk_.timeline,
                static_cast<unsigned>(fork.value >> 32U), static_cast<unsigned>(fork.value));
  disk_.forks += line;
  ++disk_.timeline;
  disk_.inserted = disk_.flushed = Lsn{fork.value + 120};  // the end-of-recovery record
  disk_.slot.exists = disk_.slot.exists && with_slot;
  // What a standby holds of a slot is what the row that it has replayed allowed.
  disk_.slot.confirmed = disk_.slot.saved = std::min(disk_.slot.saved, disk_.row.confirm_to);
}

void ModelPostgres::become_another_system() {
  close_connections();
  disk_.system_id = "7000000000000000002";
}

void ModelPostgres::drop_slot() {
  if (auto* holder = slot_holder()) terminate(holder->pid);
  disk_.slot.exists = false;
}

void ModelPostgres::invalidate_slot() {
  if (auto* holder = slot_holder()) terminate(holder->pid);
  disk_.slot.lost = true;
}

void ModelPostgres::recreate_slot() {
  drop_slot();
  flush();
  disk_.slot = {};
  disk_.slot.confirmed = disk_.slot.saved = disk_.inserted;
}

}  // namespace postrider::sim
