#include "relay/progress/outbox_rule.h"

namespace postrider {

const OutboxRule* find_outbox(const std::vector<OutboxRule>& rules, std::string_view schema,
                              std::string_view table) {
  for (const auto& rule : rules) {
    const auto dot = rule.table.find('.');
    if (std::string_view(rule.table).substr(0, dot) == schema &&
        std::string_view(rule.table).substr(dot + 1) == table)
      return &rule;
  }
  return nullptr;
}

std::vector<CaptureRule> published_rules(const std::vector<OutboxRule>& outboxes,
                                         const std::vector<CaptureRule>& captures) {
  std::vector<CaptureRule> rules;
  for (const auto& outbox : outboxes) {
    CaptureRule rule{.tables = {outbox.table}, .subject = outbox.subject};
    for (const auto* column :
         {&outbox.id, &outbox.key, &outbox.type, &outbox.payload, &outbox.headers})
      if (!column->empty()) rule.columns.push_back(*column);
    for (const auto& [header, column] : outbox.header_columns) rule.columns.push_back(column);
    rules.push_back(std::move(rule));
  }
  rules.insert(rules.end(), captures.begin(), captures.end());
  return rules;
}

}  // namespace postrider
