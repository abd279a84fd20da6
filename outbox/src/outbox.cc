#include "postrider/outbox.h"

#include <stdexcept>

#include "sql.h"
#include "statement.h"

namespace postrider {
namespace {

const char* store_name(Store store) {
  switch (store) {
    case Store::kDefault:
      return nullptr;
    case Store::kTable:
      return "table";
    case Store::kWal:
      return "wal";
  }
  throw std::invalid_argument("postrider: store is not one of enum Store");
}

// libpq takes text parameters as C strings: what follows a NUL would be lost silently.
void refuse_nul(std::string_view text, const char* what) {
  if (text.find('\0') != std::string_view::npos)
    throw std::invalid_argument(std::string("postrider: ") + what + " holds a NUL byte");
}

void refuse_nul(const Event& event) {
  refuse_nul(event.subject, "subject");
  if (event.key) refuse_nul(*event.key, "key");
  if (event.type) refuse_nul(*event.type, "type");
  for (const auto& [name, value] : event.headers) {
    refuse_nul(name, "header name");
    refuse_nul(value, "header value");
  }
  if (const auto* json = std::get_if<Json>(&event.payload))
    refuse_nul(json->text, "payload");
  else
    refuse_nul(std::get<Bytes>(event.payload).content_type, "content type");
}

const char* text_or_null(const std::optional<std::string>& text) {
  return text ? text->c_str() : nullptr;
}

// Every event of a batch, one array a column; either json or bytes is NULL in each. ROWS FROM gives
// the elements in order, and calls in a select list that are volatile run after the sort.
constexpr const char* kEmitBatch =
    "SELECT CASE WHEN json IS NOT NULL"
    " THEN outbox.emit(subject, json::jsonb, key, type, headers::jsonb, store)"
    " ELSE outbox.emit_bytes(subject, bytes::bytea, key, type, headers::jsonb, content_type, store)"
    " END "
    "FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]),"
    " pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]), pg_catalog.unnest($5::text[]),"
    " pg_catalog.unnest($6::text[]), pg_catalog.unnest($7::text[]), pg_catalog.unnest($8::text[]))"
    " WITH ORDINALITY AS event"
    " (subject, json, bytes, key, type, headers, content_type, store, place) ORDER BY place";

std::optional<std::string_view> view(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return *text;
}

}  // namespace

std::string emit(pqxx::transaction_base& tx, const Event& event) {
  refuse_nul(event);
  const char* key = text_or_null(event.key);
  const char* type = text_or_null(event.type);
  const std::string headers = json_object(event.headers);
  const char* store = store_name(event.store);
  const auto rows = [&] {
    if (const auto* json = std::get_if<Json>(&event.payload))
      return sql::exec_with(
          tx, "SELECT outbox.emit($1::text, $2::jsonb, $3::text, $4::text, $5::jsonb, $6::text)",
          event.subject, json->text, key, type, headers, store);
    const auto& bytes = std::get<Bytes>(event.payload);
    return sql::exec_with(
        tx,
        "SELECT outbox.emit_bytes($1::text, $2::bytea, $3::text, $4::text, $5::jsonb, "
        "$6::text, $7::text)",
        event.subject, bytea_text(bytes.data), key, type, headers, bytes.content_type, store);
  }();
  return rows[0][0].as<std::string>();
}

std::vector<std::string> emit(pqxx::transaction_base& tx, std::span<const Event> events) {
  if (events.empty()) return {};
  TextArray subjects, jsons, bytes, keys, types, headers, content_types, stores;
  for (const Event& event : events) {
    refuse_nul(event);
    subjects.add(event.subject);
    if (const auto* json = std::get_if<Json>(&event.payload)) {
      jsons.add(json->text);
      bytes.add(std::nullopt);
      content_types.add(std::nullopt);
    } else {
      const auto& payload = std::get<Bytes>(event.payload);
      jsons.add(std::nullopt);
      bytes.add(bytea_text(payload.data));
      content_types.add(payload.content_type);
    }
    keys.add(view(event.key));
    types.add(view(event.type));
    headers.add(json_object(event.headers));
    const char* store = store_name(event.store);
    stores.add(store ? std::optional<std::string_view>(store) : std::nullopt);
  }
  const auto rows =
      sql::exec_with(tx, kEmitBatch, subjects.take(), jsons.take(), bytes.take(), keys.take(),
                     types.take(), headers.take(), content_types.take(), stores.take());
  std::vector<std::string> ids;
  ids.reserve(events.size());
  for (const auto& row : rows) ids.push_back(row[0].as<std::string>());
  return ids;
}

}  // namespace postrider
