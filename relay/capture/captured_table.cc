#include "relay/capture/captured_table.h"

#include <algorithm>
#include <array>

#include "relay/capture/debezium.h"
#include "relay/capture/row_json.h"

namespace postrider {
namespace {

using wire::Value;

// A header's value holds no control characters and keeps no blanks at its ends; and where a key has
// several columns, a comma parts them.
void append_key_value(std::string& out, std::string_view text) {
  constexpr std::array<char, 16> kHex = {'0', '1', '2', '3', '4', '5', '6', '7',
                                         '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'};
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte != 0x7F && c != '%' && c != ',') {
      out += c;
      continue;
    }
    out += '%';
    out += kHex[byte >> 4U];
    out += kHex[byte & 0xFU];
  }
}

}  // namespace

const char* to_string(RowOp op) {
  switch (op) {
    case RowOp::kInsert:
      return "insert";
    case RowOp::kUpdate:
      return "update";
    case RowOp::kDelete:
      return "delete";
    case RowOp::kTruncate:
      return "truncate";
    case RowOp::kRead:
      return "read";
  }
  return "?";
}

CapturedTable::CapturedTable(const wire::Relation& relation, const CaptureRule& rule)
    : schema_(relation.schema.empty() ? "pg_catalog" : relation.schema),
      name_(relation.name),
      format_(rule.format),
      tombstones_(rule.tombstones),
      subject_(rule.subject),
      subject_column_(rule.subject_column),
      width_(relation.columns.size()),
      hash_salt_(rule.hash_salt),
      columns_(captured_columns(relation, rule)) {
  for (const auto& [value, subject] : rule.subject_values) subjects_.emplace(value, subject);
  for (const auto& column : columns_) {
    has_key_ = has_key_ || column.key;
    has_replaced_ = has_replaced_ || column.replaced();
  }
}

Value CapturedTable::value_of(const RowChange& change, const CapturedColumn& column) const {
  const Value value = (*change.row)[column.index];
  if (value.kind != Value::Kind::kUnchangedToast || !has_old(change, column)) return value;
  // A value that is stored apart is never NULL: an old row that says so was logged without it.
  const Value old = old_value_of(change, column);
  return old.kind == Value::Kind::kText ? old : value;
}

Value CapturedTable::old_value_of(const RowChange& change, const CapturedColumn& column) const {
  return (*change.old)[column.index];
}

// Of a delete, the old row is all there is.
Value CapturedTable::newest_value_of(const RowChange& change, const CapturedColumn& column) const {
  if (change.row != nullptr) return value_of(change, column);
  if (has_old(change, column)) return old_value_of(change, column);
  return {};
}

void CapturedTable::write_key(const RowChange& change, OutboxEvent& event) const {
  if (!has_key_ || change.op == RowOp::kTruncate) {
    event.key.reset();
    return;
  }
  if (!event.key) event.key.emplace();
  event.key->clear();
  for (const auto& column : columns_) {
    if (!column.key) continue;
    if (!event.key->empty()) *event.key += ',';
    append_key_value(*event.key, newest_value_of(change, column).data);
  }
}

std::optional<std::string_view> CapturedTable::text_of(const RowChange& change,
                                                       std::string_view own_name) const {
  const auto column = std::ranges::find(columns_, own_name, &CapturedColumn::own_name);
  if (column == columns_.end() || change.op == RowOp::kTruncate) return std::nullopt;
  const Value value = newest_value_of(change, *column);
  if (value.kind != Value::Kind::kText) return std::nullopt;
  return value.data;
}

const SubjectTemplate& CapturedTable::subject_of(const RowChange& change) const {
  if (subjects_.empty()) return subject_;
  const auto value = text_of(change, subject_column_);
  const auto found = value ? subjects_.find(*value) : subjects_.end();
  return found == subjects_.end() ? subject_ : found->second;
}

void CapturedTable::write_subject(const RowChange& change, OutboxEvent& event) const {
  constexpr std::string_view kColumn = "column:";
  event.subject.clear();
  const auto& subject = subject_of(change);
  subject.append_to(event.subject, [&](std::string_view field) -> std::optional<std::string_view> {
    if (field == "schema") return schema_;
    if (field == "table") return name_;
    if (field == "op") return to_string(change.op);
    if (field == "key") return event.key;
    if (!field.starts_with(kColumn)) return std::nullopt;
    return text_of(change, field.substr(kColumn.size()));
  });
}

Result<void> CapturedTable::write(RowChange change, OutboxEvent& event) {
  for (const auto* tuple : {change.row, change.old})
    if (tuple != nullptr && tuple->size() != width_)
      return fail(ErrorKind::kProtocol, "a row of " + schema_ + "." + name_ + " has " +
                                            std::to_string(tuple->size()) + " values, the table " +
                                            std::to_string(width_) + " columns");
  if (has_replaced_ && change.row != nullptr)
    change.row = &row_.of(*change.row, columns_, hash_salt_);
  if (has_replaced_ && change.old != nullptr)
    change.old = &old_.of(*change.old, columns_, hash_salt_);
  event.id.clear();
  event.from_template = true;
  event.headers.reset();
  event.tombstone = tombstones_ && change.op == RowOp::kDelete;
  event.type = to_string(change.op);
  event.content_type = "application/json";
  write_key(change, event);
  write_subject(change, event);
  // All at once, with room for escapes: to grow while a large row is written would need it twice.
  std::size_t bytes = 0;
  for (const auto* tuple : {change.row, change.old})
    if (tuple != nullptr)
      for (const auto& value : *tuple) bytes += value.data.size();
  event.payload.clear();
  event.payload.reserve(bytes + bytes / 4);
  if (format_ == RowFormat::kDebezium)
    write_debezium(*this, change, event.payload);
  else
    write_row_json(*this, change, event.payload);
  return {};
}

}  // namespace postrider
