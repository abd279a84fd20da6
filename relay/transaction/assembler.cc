#include "relay/transaction/assembler.h"

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
  wire::append_uuid(event.id, message.id);
  event.subject.assign(message.subject);
  assign(event.key, message.key);
  assign(event.type, message.type);
  assign(event.content_type, message.content_type);
  assign(event.headers, message.headers);
  event.payload.assign(message.payload);
}

}  // namespace

Assembler::Assembler(const TimelineHistory& history, const Epochs& epochs)
    : history_(history), epochs_(epochs) {}

Result<Step> Assembler::feed(const wire::PgOutputMessage& message) {
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
  tables_.erase(relation.oid);
  partitions_.erase(relation.oid);
  if (relation.schema != kOutboxSchema) {
    tables_[relation.oid] = std::nullopt;
    return Step{};
  }
  if (relation.name != kOutboxTable) {
    // Partitions are described even where their rows come under the root's name.
    partitions_[relation.oid] = relation.name;
    return Step{};
  }
  auto table = OutboxTable::resolve(relation);
  if (!table) return tl::unexpected(std::move(table.error()));
  tables_[relation.oid] = *table;
  return Step{};
}

Result<Step> Assembler::on(const wire::Insert& insert) {
  const auto index = next_index();
  if (!index) return tl::unexpected(index.error());
  if (const auto partition = partitions_.find(insert.oid); partition != partitions_.end())
    return fail(ErrorKind::kPublicationMissing,
                "the WAL holds a row of outbox." + partition->second + " in the commit at " +
                    transaction_->commit_lsn.to_string() +
                    ": the publication did not publish by the root table outbox.events then",
                "the slot cannot pass it: see docs/operating.md, \"publication missing\"");
  const auto table = tables_.find(insert.oid);
  if (table == tables_.end()) return out_of_order("a row of a relation that it never described");
  if (!table->second) {
    ++ignored_changes_;
    return Step{};
  }
  if (auto read = table->second->read(insert.row, incoming_); !read)
    return tl::unexpected(std::move(read.error()));
  Step step;
  step.event = release(false);
  hold(*index);
  return step;
}

Result<Step> Assembler::on(const wire::LogicalMessage& message) {
  // A message that is not part of a transaction is delivered even when its writer rolled back.
  if (!message.transactional) return Step{};
  if (!transaction_) return out_of_order("a transactional message without a begin");
  if (!transaction_->epoch->settings.wal_store) return Step{};
  const auto index = next_index();
  if (!index) return tl::unexpected(index.error());
  if (message.prefix != wire::kOutboxMessagePrefix) return Step{};
  const auto decoded = wire::decode_outbox_message(message.content);
  if (!decoded) return tl::unexpected(decoded.error());
  read_message(*decoded, incoming_);
  Step step;
  step.event = release(false);
  hold(*index);
  return step;
}

Result<Step> Assembler::ignore_change() {
  const auto index = next_index();
  if (!index) return tl::unexpected(index.error());
  ++ignored_changes_;
  return Step{};
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
