// An event as a service hands it to emit (postrider/outbox.h). Plain values, no invariants of their
// own: the database checks an event when it is emitted, and refuses what could not be carried.
//
// Text is UTF-8, as is the connection's client_encoding, and holds no NUL.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace postrider {

// A payload of JSON text. The database stores it as jsonb, so consumers get the same value, not the
// same bytes: blanks, the order of keys and repeated keys are not kept. Its content type is
// application/json.
struct Json {
  std::string text;
};

// A payload of any bytes, which consumers get unchanged.
struct Bytes {
  std::vector<std::byte> data;
  std::string content_type = "application/octet-stream";
};

// Where an event waits until the relay has carried it; consumers see no difference.
enum class Store {
  kDefault,  // what outbox.settings.default_store says
  kTable,    // a row, kept for the retention time: makes repair possible
  kWal,      // a logical message in the WAL: no row, no repair; the relay must have wal_store on
};

struct Event {
  // Tokens of A-Z a-z 0-9 _ % = + : @ / ~ - joined by single dots, at most 200 bytes, not beginning
  // with _. Its NATS subject is the source's name, a dot, and this.
  std::string subject;
  std::variant<Json, Bytes> payload;
  // What the event is about, and of which kind; for consumers. No control characters.
  std::optional<std::string> key = std::nullopt;
  std::optional<std::string> type = std::nullopt;
  // Carried as NATS headers. Names as RFC 7230 has tokens, none that begin with Nats-, Postrider-
  // or ce-, nor Content-Type; values without control characters.
  std::map<std::string, std::string> headers = {};
  Store store = Store::kDefault;
};

}  // namespace postrider
