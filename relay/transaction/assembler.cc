#include "relay/transaction/assembler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "relay/wire/outbox_message.h"

namespace postrider {
namespace {

tl::unexpected<Error> out_of_order(const char* what) {
  return fail(ErrorKind::kProtocol, std::string("pgoutput sent ") + what);
}

void assign(std::optional<std::string>& field, std::optional<std::string_view> value) {
  if (!value) {
    field.reset();
    return;
  }
  if (!field) field.emplace();
  field->assign(*value);
}

void read_message(const wire::OutboxMessage& message, OutboxEvent& event) {
  event.id.clear();
  event.from_template = false;
  event.tombstone = false;
  wire::append_uuid(event.id, message.id);
  event.subject.assign(message.subject);
  assign(event.key, message.key);
  assign(event.type, message.type);
  assign(event.content_type, message.content_type);
  assign(event.headers, message.headers);
  event.payload.assign(message.payload);
}

// Nothing unless values are missing that only the old row's reader has.
std::optional<MovedRow> moved_row(const wire::Relation& table, const wire::Update& update) {
  const auto unchanged = [](const wire::Value& value) {
    return value.kind == wire::Value::Kind::kUnchangedToast;
  };
  if (update.old_kind != wire::OldRow::kKey || std::ranges::none_of(update.row, unchanged))
    return std::nullopt;
  MovedRow moved{table.oid, {}};
  for (std::size_t i = 0; i < table.columns.size() && i < update.row.size(); ++i) {
    if (!table.columns[i].key) continue;
    const auto& value = unchanged(update.row[i]) ? update.old[i] : update.row[i];
    moved.key.emplace_back(table.columns[i].name, value.data);
  }
  return moved;
}

}  // namespace

Assembler::Assembler(const TimelineHistory& history, const Epochs& epochs)
    : history_(history), epochs_(epochs) {}

Result<Step> Assembler::feed(const wire::PgOutputMessage& message) {
  forget_large();
  return std::visit([this](const auto& m) { return on(m); }, message);
}

Result<Step> Assembler::on(const wire::Begin& begin) {
  if (transaction_) return out_of_order("a begin inside a transaction");
  transaction_ = Transaction{begin.commit_lsn,
                             {begin.xid, begin.commit_time_us},
                             history_.owner(begin.commit_lsn),
                             &epochs_.at(begin.commit_lsn),
                             0};
  Step step;
  step.begin = {begin.commit_lsn, transaction_->fingerprint};
  return step;
}

Result<Step> Assembler::on(const wire::Commit& commit) {
  if (!transaction_) return out_of_order("a commit without a begin");
  if (commit.commit_lsn != transaction_->commit_lsn || commit.end_lsn <= commit.commit_lsn)
    return out_of_order("a commit that does not match its begin");
  Step step;
  step.event = release(true);
  step.end = {commit.commit_lsn, commit.end_lsn};
  transaction_.reset();
  return step;
}

Result<Step> Assembler::on(const wire::Relation& relation) {
  outbox_.erase(relation.oid);
  partitions_.erase(relation.oid);
  relations_.erase(relation.oid);
  unmatched_.erase(relation.oid);
  if (relation.schema != kOutboxSchema) {
    relations_.emplace(relation.oid, relation);
    return Step{};
  }
  if (relation.name != kOutboxTable) {
    // Partitions are described even where their rows come under the root's name.
    partitions_[relation.oid] = relation.name;
    return Step{};
  }
  auto table = OutboxTable::resolve(relation);
  if (!table) return tl::unexpected(std::move(table.error()));
  outbox_.emplace(relation.oid, *table);
  return Step{};
}

Result<Step> Assembler::on(const wire::Insert& insert) {
  if (!transaction_) return out_of_order("a change without a begin");
  if (const auto partition = partitions_.find(insert.oid); partition != partitions_.end())
    return fail(ErrorKind::kPublicationMissing,
                "the WAL holds a row of outbox." + partition->second + " in the commit at " +
                    transaction_->commit_lsn.to_string() +
                    ": the publication did not publish by the root table outbox.events then",
                "the slot cannot pass it: see docs/operating.md, \"publication missing\"");
  if (const auto table = outbox_.find(insert.oid); table != outbox_.end())
    return on_event_row(table->second, insert);
  return on_change(insert.oid, {.op = RowOp::kInsert, .row = &insert.row});
}

Result<Step> Assembler::on(const wire::Update& update) {
  auto step =
      on_change(update.oid, {.op = RowOp::kUpdate,
                             .row = &update.row,
                             .old = update.old_kind == wire::OldRow::kNone ? nullptr : &update.old,
                             .old_is_full = update.old_kind == wire::OldRow::kFull});
  if (const auto table = relations_.find(update.oid);
      step && carries_backfill() && table != relations_.end())
    step->moved = moved_row(table->second.described(), update);
  return step;
}

Result<Step> Assembler::on(const wire::Delete& deletion) {
  return on_change(deletion.oid, {.op = RowOp::kDelete,
                                  .old = &deletion.old,
                                  .old_is_full = deletion.old_kind == wire::OldRow::kFull});
}

Result<Step> Assembler::on(const wire::Truncate& truncate) {
  if (truncate.oids.size() != 1)
    return out_of_order("a truncation that was not taken apart, or of no table");
  return on_change(truncate.oids.front(), {.op = RowOp::kTruncate});
}

Result<Step> Assembler::on_event_row(const OutboxTable& table, const wire::Insert& insert) {
  const auto index = next_index();
  if (!index) return tl::unexpected(index.error());
  if (auto read = table.read(insert.row, incoming_); !read)
    return tl::unexpected(std::move(read.error()));
  Step step;
  step.event = release(false);
  hold(*index);
  return step;
}

Result<Step> Assembler::on_change(std::uint32_t oid, RowChange change) {
  if (!transaction_) return out_of_order("a change without a begin");
  const auto relation = relations_.find(oid);
  const bool described =
      relation != relations_.end() || outbox_.contains(oid) || partitions_.contains(oid);
  if (!described) return out_of_order("a change of a relation that it never described");
  if (relation == relations_.end()) return on_captured({}, change);
  for (const auto* tuple : {change.row, change.old})
    if (tuple != nullptr && tuple->size() != relation->second.described().columns.size())
      return out_of_order("a row with more or fewer values than its table has columns");
  const Epoch& epoch = *transaction_->epoch;
  const auto reading = relation->second.in(epoch);
  auto step = on_captured(reading, change);
  // An older epoch may well know nothing of a table that is captured now.
  if (step && reading.table == nullptr && reading.outbox == nullptr &&
      &epoch == &epochs_.newest() && epoch.settings.carries_rows() && unmatched_.insert(oid).second)
    step->unmatched = &relation->second.described();
  return step;
}

Result<Step> Assembler::feed(const BackfillChange& change) {
  forget_large();
  if (!transaction_) return out_of_order("a backfilled row without a begin");
  return on_captured(
      change.table.in(*transaction_->epoch),
      {.op = change.row == nullptr ? RowOp::kTruncate : RowOp::kRead, .row = change.row});
}

Result<Step> Assembler::on_captured(CapturedRelation::Reading reading, RowChange change) {
  const Epoch& epoch = *transaction_->epoch;
  const bool is_event =
      reading.table != nullptr || (reading.outbox != nullptr && change.op == RowOp::kInsert);
  // What a service takes away from its own outbox table, nobody asked for.
  if (!is_event && (reading.outbox == nullptr || change.op == RowOp::kUpdate)) ++ignored_changes_;
  if (!epoch.settings.carries_rows()) return Step{};
  const auto index = next_index();
  if (!index) return tl::unexpected(index.error());
  if (!is_event) return Step{};
  change.commit_lsn = transaction_->commit_lsn;
  change.fingerprint = transaction_->fingerprint;
  change.source = epoch.settings.source;
  auto written = reading.table != nullptr ? reading.table->write(change, incoming_)
                                          : reading.outbox->read(*change.row, incoming_);
  if (!written) return tl::unexpected(std::move(written.error()));
  Step step;
  step.event = release(false);
  hold(*index);
  return step;
}

Result<Step> Assembler::on(const wire::LogicalMessage& message) {
  // A message that is not part of a transaction is delivered even when its writer rolled back.
  if (!message.transactional) return Step{};
  if (!transaction_) return out_of_order("a transactional message without a begin");
  const EpochSettings& settings = transaction_->epoch->settings;
  if (!settings.wal_store && !settings.backfill) return Step{};
  const auto index = next_index();
  if (!index) return tl::unexpected(index.error());
  if (message.prefix != wire::kOutboxMessagePrefix || !settings.wal_store) return Step{};
  const auto decoded = wire::decode_outbox_message(message.content);
  if (!decoded) return tl::unexpected(decoded.error());
  read_message(*decoded, incoming_);
  Step step;
  step.event = release(false);
  hold(*index);
  return step;
}

// Memory is reused from event to event, except that of large rows: three of them would be held.
void Assembler::forget_large() {
  constexpr std::size_t kReused = 1024UL * 1024;
  for (auto* event : {&released_event_, &incoming_})
    if (event->payload.capacity() > kReused) std::string().swap(event->payload);
}

Result<std::uint32_t> Assembler::next_index() {
  if (!transaction_) return out_of_order("a change without a begin");
  return transaction_->next_index++;
}

std::optional<AssembledEvent> Assembler::release(bool last) {
  if (!held_) return std::nullopt;
  std::swap(held_event_, released_event_);
  AssembledEvent released{*held_, transaction_->fingerprint, transaction_->epoch, last,
                          &released_event_};
  held_.reset();
  return released;
}

void Assembler::hold(std::uint32_t index) {
  std::swap(incoming_, held_event_);
  held_ = Position{transaction_->timeline, transaction_->commit_lsn, index, std::nullopt};
}

}  // namespace postrider
