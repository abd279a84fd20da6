// `postrider repair`: what a source has committed and its stream lacks is written into the WAL
// again, and a new slot carries it, with positions and ordinals like any other event.
//
// The relay's part is taken for its duration: its lock, its session number, and a mark in the
// checkpoint row that keeps every relay from beginning until a repair has ended. Killed at any
// instant, it leaves that mark, and another run does what is left; only one transaction, its last
// step, changes what a relay goes on from.
//
// Blocks. Throws Failure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/repair/mark_check.h"
#include "daemon/repair/plan.h"
#include "daemon/repair/repair_row.h"
#include "daemon/repair/stream_history.h"
#include "relay/options.h"

namespace postrider {

struct RepairOptions {
  RelayOptions relay;
  std::string owner_conninfo;
  bool dry_run = false;
  // The operator's word that events with a higher ordinal are void: the source never had them.
  std::optional<std::uint64_t> void_after;
  bool void_more = false;  // also where nothing says that all of them are
  // Also where nothing is known to be wrong: a new slot, and what the stream lacks is sent again.
  bool resend = false;
};

struct RepairReport {
  std::string reason;                      // what is wrong; empty: nothing is
  bool needs_word = false;                 // it is repaired only with void_after
  bool word_given = false;                 // now, or to a repair that has begun
  std::optional<std::uint64_t> suggested;  // for void_after: the newest ordinal that is surely
                                           // ours; nothing: none could be told
  MarkCheck mark = MarkCheck::kHolds;      // without a reason: of what was said here and there
  RepairPlan plan;
  std::vector<OutboxRow> missing;     // rows to be sent again; without a reason, a backlog perhaps
  std::uint64_t present = 0;          // rows that the stream holds
  std::uint64_t uncertain = 0;        // rows that may have aged out of the stream: not sent
  std::vector<VoidMessage> voided;    // messages to be deleted: not this source's history
  std::uint64_t torn = 0;             // and that begin a transaction whose end the stream lacks
  bool by_commit_time = false;        // the order of what is sent again; else by transaction id
  bool wal_store = false;             // events of the wal store cannot be brought back
  std::vector<std::string> outboxes;  // outbox tables of other tools: neither can theirs
  std::vector<OrderedBackfill> backfills;  // of captured tables: ordered, or to be ordered
  std::optional<Error> refused;            // where nothing is done: why it could not be
  bool done = false;
};

[[nodiscard]] RepairReport repair(const RepairOptions& options);

}  // namespace postrider
