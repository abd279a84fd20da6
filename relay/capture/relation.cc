#include "relay/capture/relation.h"

namespace postrider {

CapturedRelation::CapturedRelation(const wire::Relation& relation)
    : names_(std::make_unique<std::vector<std::string>>()),
      schema_(std::make_unique<std::string>(relation.schema)),
      name_(std::make_unique<std::string>(relation.name)),
      relation_(relation) {
  relation_.schema = *schema_;
  relation_.name = *name_;
  names_->reserve(relation.columns.size());
  for (auto& column : relation_.columns) column.name = names_->emplace_back(column.name);
}

CapturedRelation::Reading CapturedRelation::in(const Epoch& epoch) {
  if (epoch_ != epoch.number) {
    epoch_ = epoch.number;
    table_.reset();
    outbox_.reset();
    const auto* outbox = find_outbox(epoch.settings.outboxes, relation_.schema, relation_.name);
    if (outbox != nullptr) outbox_.emplace(relation_, *outbox);
    const auto* rule = find_rule(epoch.settings.captures, relation_.schema, relation_.name);
    if (outbox == nullptr && rule != nullptr) table_.emplace(relation_, *rule);
  }
  return {table_ ? &*table_ : nullptr, outbox_ ? &*outbox_ : nullptr};
}

}  // namespace postrider
