#include "postrider/outbox.h"

#include <stdexcept>

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

// Values are literals in the statement, not parameters: exec_params of libpqxx 6.4 does not begin
// the pqxx::subtransaction that it is the first call in, whose rollback would then leave the event.
std::string literal(const pqxx::transaction_base& tx, const std::string& text) {
  return tx.quote(text);
}
std::string literal(const pqxx::transaction_base& tx, const std::optional<std::string>& text) {
  return text ? tx.quote(*text) : "NULL";
}
std::string literal(const pqxx::transaction_base& tx, const char* text) {
  return text ? tx.quote(std::string(text)) : "NULL";
}

// "('a', NULL, ...)". The functions' own types tell the literals what they are.
template <class... Texts>
std::string arguments(const pqxx::transaction_base& tx, const Texts&... texts) {
  std::string list;
  ((list += (list.empty() ? "(" : ", ") + literal(tx, texts)), ...);
  return list + ")";
}

// Every event of a batch, one array a column; either json or bytes is NULL in each. ROWS FROM gives
// the elements in order, and calls in a select list that are volatile run after the sort.
constexpr const char* kEmitBatch =
    "SELECT CASE WHEN json IS NOT NULL"
    " THEN outbox.emit(subject, json::jsonb, key, type, headers::jsonb, store)"
    " ELSE outbox.emit_bytes(subject, bytes::bytea, key, type, headers::jsonb, content_type, store)"
    " END "
    "FROM ROWS FROM (";
constexpr const char* kInOrder =
    ") WITH ORDINALITY AS event"
    " (subject, json, bytes, key, type, headers, content_type, store, place) ORDER BY place";

std::optional<std::string_view> view(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return *text;
}

}  // namespace

std::string emit(pqxx::transaction_base& tx, const Event& event) {
  refuse_nul(event);
  const std::string headers = json_object(event.headers);
  const char* store = store_name(event.store);
  std::string call = "SELECT outbox.";
  if (const auto* json = std::get_if<Json>(&event.payload)) {
    call +=
        "emit" + arguments(tx, event.subject, json->text, event.key, event.type, headers, store);
  } else {
    const auto& bytes = std::get<Bytes>(event.payload);
    call += "emit_bytes" + arguments(tx, event.subject, bytea_text(bytes.data), event.key,
                                     event.type, headers, bytes.content_type, store);
  }
  return tx.exec(call)[0][0].as<std::string>();
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
  std::string statement = kEmitBatch;
  const char* separator = "";
  for (TextArray* column :
       {&subjects, &jsons, &bytes, &keys, &types, &headers, &content_types, &stores}) {
    // Qualified, which unnest of several arrays at once cannot be: the caller's search_path is not
    // ours.
    statement += separator;
    statement += "pg_catalog.unnest(" + tx.quote(column->take()) + "::pg_catalog.text[])";
    separator = ", ";
  }
  const auto rows = tx.exec(statement + kInOrder);
  std::vector<std::string> ids;
  ids.reserve(events.size());
  for (const auto& row : rows) ids.push_back(row[0].as<std::string>());
  return ids;
}

std::string token(pqxx::connection& connection) {
  pqxx::nontransaction tx(connection);
  return tx.exec("SELECT outbox.token()")[0][0].as<std::string>();
}

}  // namespace postrider
