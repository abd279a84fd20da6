// Turns decoded WAL messages into events with positions, whole transactions at a time.
//
// It holds back one event, so that the last event of a transaction can be marked as such when the
// commit comes: memory does not grow with the transaction. An event's index counts *all* decoded
// changes of its transaction, carried or not, so that a change of what is carried never renumbers.
// Only what the commit's epoch knows nothing of is not counted, logical messages and row changes:
// an older relay, which still may publish that commit, does not even ask the server for them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "postrider/position.h"
#include "relay/capture/relation.h"
#include "relay/progress/epoch.h"
#include "relay/progress/timeline_history.h"
#include "relay/transaction/outbox_table.h"
#include "relay/wire/pgoutput.h"

namespace postrider {

struct AssembledEvent {
  Position position;
  Fingerprint fingerprint;
  const Epoch* epoch = nullptr;
  bool last = false;                   // of the carried events of its transaction
  const OutboxEvent* event = nullptr;  // valid until the next feed()
  bool tombstone = false;              // the tombstone that follows `event`, not itself
};

struct TransactionBegin {
  Lsn commit_lsn;
  Fingerprint fingerprint;
};

struct TransactionEnd {
  Lsn commit_lsn;
  Lsn end_lsn;  // what may be confirmed once the transaction is durable
};

// A row of a message that a backfill wrote, or its truncation.
struct BackfillChange {
  CapturedRelation& table;
  const wire::Tuple* row = nullptr;  // nullptr: truncation
};

// A row that took another key while the WAL did not hold all of it: a reader that the backfill has
// not given the old row yet cannot make the new one.
struct MovedRow {
  std::uint32_t table = 0;                                         // OID
  std::vector<std::pair<std::string_view, std::string_view>> key;  // columns and their new values
};

// What one WAL message brought about; handle begin before event, event before end.
struct Step {
  std::optional<TransactionBegin> begin;
  std::optional<AssembledEvent> event;
  std::optional<TransactionEnd> end;
  std::optional<MovedRow> moved;  // views what the WAL message views
  // A table that no rule of the newest epoch names, at its first change since it was described.
  // Valid until it is described again.
  const wire::Relation* unmatched = nullptr;
};

class Assembler {
 public:
  // Keeps references to both, which must outlive it; `epochs` must not be empty.
  Assembler(const TimelineHistory& history, const Epochs& epochs);

  // kProtocol when messages come in an order that the protocol forbids; kPublicationMissing for
  // a row of another table of the outbox, such as a partition under its own name. A truncation of
  // several tables is several changes: it is fed one table at a time.
  [[nodiscard]] Result<Step> feed(const wire::PgOutputMessage& message);

  // One change of a backfill's message, which is several: it is fed one at a time, where
  // carries_backfill().
  [[nodiscard]] Result<Step> feed(const BackfillChange& change);

  // True inside a transaction whose epoch takes backfills' messages apart.
  [[nodiscard]] bool carries_backfill() const {
    return transaction_ && transaction_->epoch->settings.backfill;
  }
  // True between a transaction's begin and its commit.
  [[nodiscard]] bool in_transaction() const { return transaction_.has_value(); }
  // Changes of tables, or of kinds, that nobody asked for: an altered publication. Counted, never
  // carried.
  [[nodiscard]] std::uint64_t ignored_changes() const { return ignored_changes_; }

 private:
  struct Transaction {
    Lsn commit_lsn;
    Fingerprint fingerprint;
    std::uint32_t timeline = 0;
    const Epoch* epoch = nullptr;
    std::uint32_t next_index = 0;
  };

  Result<Step> on(const wire::Begin& begin);
  Result<Step> on(const wire::Commit& commit);
  Result<Step> on(const wire::Relation& relation);
  Result<Step> on(const wire::Insert& insert);
  Result<Step> on(const wire::LogicalMessage& message);
  Result<Step> on(const wire::Update& update);
  Result<Step> on(const wire::Delete& deletion);
  Result<Step> on(const wire::Truncate& truncate);
  Result<Step> on(const wire::Origin&) { return Step{}; }
  Result<Step> on(const wire::Type&) { return Step{}; }

  Result<Step> on_event_row(const OutboxTable& table, const wire::Insert& insert);
  Result<Step> on_change(std::uint32_t oid, RowChange change);
  Result<Step> on_captured(CapturedRelation::Reading reading, RowChange change);
  // Takes the next index of the open transaction; kProtocol outside of one.
  Result<std::uint32_t> next_index();
  // Moves a held event out for the caller.
  std::optional<AssembledEvent> release(bool last);
  void hold(std::uint32_t index);
  void forget_large();

  const TimelineHistory& history_;
  const Epochs& epochs_;
  // By OID, each in one of the three.
  std::unordered_map<std::uint32_t, OutboxTable> outbox_;
  std::unordered_map<std::uint32_t, std::string> partitions_;  // and other tables of the outbox
  std::unordered_map<std::uint32_t, CapturedRelation> relations_;
  std::unordered_set<std::uint32_t> unmatched_;  // of relations_, told already
  std::optional<Transaction> transaction_;
  std::optional<Position> held_;
  OutboxEvent incoming_;
  OutboxEvent held_event_;
  OutboxEvent released_event_;
  std::uint64_t ignored_changes_ = 0;
};

}  // namespace postrider
