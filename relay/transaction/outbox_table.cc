#include "relay/transaction/outbox_table.h"

#include <algorithm>
#include <string>

#include "relay/wire/bytea.h"

namespace postrider {
namespace {

using wire::Value;

constexpr std::array<std::string_view, 8> kColumnNames = {
    "id", "subject", "key", "type", "content_type", "headers", "payload", "payload_bytes"};

tl::unexpected<Error> malformed(const std::string& what) {
  return fail(
      ErrorKind::kMalformedEvent, "outbox.events: " + what,
      "rows are written by outbox.emit alone; if the table was altered, put it back to what "
      "`postrider migrate --print` shows, then `postrider repair --resend`: the WAL of meanwhile "
      "stays as it is (docs/operating.md, \"malformed event\")");
}

void assign(std::optional<std::string>& field, const Value& value) {
  if (value.kind != Value::Kind::kText) {
    field.reset();
    return;
  }
  if (!field) field.emplace();
  field->assign(value.data);
}

}  // namespace

Result<OutboxTable> OutboxTable::resolve(const wire::Relation& relation) {
  OutboxTable table;
  for (std::size_t field = 0; field < kFieldCount; ++field) {
    const auto found =
        std::ranges::find(relation.columns, kColumnNames[field], &wire::Column::name);
    if (found == relation.columns.end())
      return malformed("column \"" + std::string(kColumnNames[field]) + "\" is missing");
    table.column_[field] = static_cast<std::size_t>(found - relation.columns.begin());
  }
  return table;
}

Result<void> OutboxTable::read(const wire::Tuple& row, OutboxEvent& event) const {
  const auto at = [&](Field field) -> const Value& { return row[column_[field]]; };
  if (std::ranges::max(column_) >= row.size()) return malformed("a row lacks columns");
  if (at(kId).kind != Value::Kind::kText) return malformed("a row has no id");
  event.id.assign(at(kId).data);
  event.from_template = false;
  event.tombstone = false;
  if (at(kSubject).kind != Value::Kind::kText)
    return malformed("row " + event.id + " has no subject");
  event.subject.assign(at(kSubject).data);
  assign(event.key, at(kKey));
  assign(event.type, at(kType));
  assign(event.content_type, at(kContentType));
  assign(event.headers, at(kHeaders));

  const bool json = at(kPayload).kind == Value::Kind::kText;
  const bool bytes = at(kPayloadBytes).kind == Value::Kind::kText;
  if (json == bytes) return malformed("row " + event.id + " must have exactly one payload");
  if (json) {
    event.payload.assign(at(kPayload).data);
  } else if (!wire::decode_bytea(at(kPayloadBytes).data, event.payload)) {
    return malformed("row " + event.id + " has a payload that is not bytea in hex format");
  }
  return {};
}

}  // namespace postrider
