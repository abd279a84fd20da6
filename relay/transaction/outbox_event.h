// One event: as a service wrote it, whichever store it came from, or a row change of a captured
// table.
#pragma once

#include <optional>
#include <string>

namespace postrider {

struct OutboxEvent {
  std::string id;       // UUID, text; or what an outbox table of another tool has; empty: a row
                        // change, which nobody gave one
  std::string subject;  // without the source's name
  std::optional<std::string> key;
  std::optional<std::string> type;
  std::optional<std::string> content_type;
  std::optional<std::string> headers;  // text of a JSON object
  std::string payload;
  bool tombstone = false;      // it is followed by one: a message of its key without payload
  bool from_template = false;  // the subject comes from names and values
};

}  // namespace postrider
