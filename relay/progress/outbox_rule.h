// What the configuration says about an outbox table of another tool: [[outbox]]. Part of an epoch's
// settings. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "relay/progress/capture_rule.h"

namespace postrider {

// The columns' names are those of Debezium's outbox event router where nothing else is said.
struct OutboxRule {
  std::string table;  // schema.table, no pattern
  // As CaptureRule::subject, without {op}.
  std::string subject = "outbox.event.{column:aggregatetype}";
  std::string id = "id";
  std::string key = "aggregateid";  // empty: events have none
  std::string type = "type";        // empty: events have none
  std::string payload = "payload";
  std::string headers = {};                                // a JSON object of headers; empty: none
  std::map<std::string, std::string> header_columns = {};  // header: column
  std::string content_type = {};  // of every event; empty: what the payload's type says

  friend bool operator==(const OutboxRule&, const OutboxRule&) = default;
};

// The rule for the table, or nullptr.
[[nodiscard]] const OutboxRule* find_outbox(const std::vector<OutboxRule>& rules,
                                            std::string_view schema, std::string_view table);

// What the capture publication holds: outbox tables first, since they are not captured besides. An
// outbox table is a rule with its columns alone.
[[nodiscard]] std::vector<CaptureRule> published_rules(const std::vector<OutboxRule>& outboxes,
                                                       const std::vector<CaptureRule>& captures);

}  // namespace postrider
