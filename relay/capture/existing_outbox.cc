#include "relay/capture/existing_outbox.h"

#include <algorithm>
#include <string_view>

#include "relay/capture/header_text.h"
#include "relay/capture/json_text.h"
#include "relay/capture/row_value.h"
#include "relay/wire/bytea.h"

namespace postrider {
namespace {

using wire::Value;

constexpr std::string_view kColumn = "column:";

std::optional<std::string_view> text_of(const Value& value) {
  if (value.kind != Value::Kind::kText) return std::nullopt;
  return value.data;
}

// An empty header is none: nats.c cannot read a message whose last header is empty.
void assign(std::optional<std::string>& field, std::optional<std::string_view> text) {
  field.reset();
  if (text && !text->empty()) append_header_text(field.emplace(), *text);
}

}  // namespace

ExistingOutbox::ExistingOutbox(const wire::Relation& relation, const OutboxRule& rule)
    : schema_(relation.schema),
      name_(relation.name),
      subject_(rule.subject),
      content_type_(rule.content_type),
      width_(relation.columns.size()) {
  for (std::size_t i = 0; i < relation.columns.size(); ++i)
    columns_.push_back({std::string(relation.columns[i].name), i, relation.columns[i].type});
  const auto find = [&](const std::string& name) -> Column {
    const auto found = std::ranges::find(columns_, name, &Column::name);
    if (found != columns_.end()) return *found;
    missing_ = name;
    return {name};
  };
  id_ = find(rule.id);
  payload_ = find(rule.payload);
  if (!rule.key.empty()) key_ = find(rule.key);
  if (!rule.type.empty()) type_ = find(rule.type);
  if (!rule.headers.empty()) headers_ = find(rule.headers);
  for (const auto& [header, column] : rule.header_columns)
    header_columns_.emplace_back(header, find(column));
}

tl::unexpected<Error> ExistingOutbox::malformed(const OutboxEvent& event,
                                                const std::string& what) const {
  return fail(ErrorKind::kMalformedEvent,
              "a row of the outbox table " + schema_ + "." + name_ +
                  (event.id.empty() ? "" : ", id " + event.id) + ": " + what,
              "decide with the people who wrote it, and give the column a NOT NULL: a row cannot "
              "be changed in the WAL (docs/operating.md, \"malformed event\")");
}

Result<void> ExistingOutbox::read(const wire::Tuple& row, OutboxEvent& event) const {
  if (row.size() != width_)
    return fail(ErrorKind::kProtocol, "a row of " + schema_ + "." + name_ + " has " +
                                          std::to_string(row.size()) + " values, the table " +
                                          std::to_string(width_) + " columns");
  event.id.clear();
  event.from_template = true;
  event.tombstone = false;
  if (missing_) return malformed(event, "the table has no column " + *missing_);
  const auto id = text_of(row[*id_.index]);
  if (!id || id->empty())
    return malformed(event, "its id, column " + id_.name + ", is NULL or empty");
  append_header_text(event.id, *id);
  assign(event.key, key_ ? text_of(row[*key_->index]) : std::nullopt);
  assign(event.type, type_ ? text_of(row[*type_->index]) : std::nullopt);
  write_headers(row, event);
  if (auto written = write_subject(row, event); !written) return written;
  return write_payload(row, event);
}

Result<void> ExistingOutbox::write_subject(const wire::Tuple& row, OutboxEvent& event) const {
  std::string null;
  event.subject.clear();
  subject_.append_to(event.subject, [&](std::string_view field) -> std::optional<std::string_view> {
    if (field == "schema") return schema_;
    if (field == "table") return name_;
    const auto column =
        field == "key" && key_
            ? std::ranges::find(columns_, key_->name, &Column::name)
            : std::ranges::find(columns_, field.substr(std::min(kColumn.size(), field.size())),
                                &Column::name);
    const auto text = column == columns_.end() ? std::nullopt : text_of(row[*column->index]);
    if (!text) null = field;
    return text;
  });
  if (!null.empty())
    return malformed(event, "{" + null + "} of its subject is NULL or no column of the table");
  return {};
}

void ExistingOutbox::write_headers(const wire::Tuple& row, OutboxEvent& event) const {
  event.headers.reset();
  if (headers_) {
    if (const auto text = text_of(row[*headers_->index])) event.headers.emplace(*text);
    return;
  }
  if (header_columns_.empty()) return;
  std::string json;
  for (const auto& [header, column] : header_columns_) {
    const auto text = text_of(row[*column.index]);
    if (!text || text->empty()) continue;
    json += json.empty() ? '{' : ',';
    append_json_string(json, header);
    json += ':';
    std::string value;
    append_header_text(value, *text);
    append_json_string(json, value);
  }
  if (!json.empty()) event.headers = json + '}';
}

Result<void> ExistingOutbox::write_payload(const wire::Tuple& row, OutboxEvent& event) const {
  event.payload.clear();
  std::string_view type = content_type_;
  if (type.empty() && (payload_.type == pg_type::kJson || payload_.type == pg_type::kJsonb))
    type = "application/json";
  else if (type.empty() && payload_.type == pg_type::kBytea)
    type = "application/octet-stream";
  if (type.empty()) {
    event.content_type.reset();
  } else {
    if (!event.content_type) event.content_type.emplace();
    event.content_type->assign(type);
  }
  const auto text = text_of(row[*payload_.index]);
  if (!text) return {};
  if (payload_.type != pg_type::kBytea)
    event.payload.assign(*text);
  else if (!wire::decode_bytea(*text, event.payload))
    return malformed(event, "its payload is not bytea in hex format");
  return {};
}

}  // namespace postrider
