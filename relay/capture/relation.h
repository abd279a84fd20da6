// A table outside of the outbox as the WAL last described it, and what the epoch of the commit at
// hand makes of it. Pure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/capture/captured_table.h"
#include "relay/capture/existing_outbox.h"
#include "relay/progress/epoch.h"
#include "relay/wire/pgoutput.h"

namespace postrider {

class CapturedRelation {
 public:
  // Copies what `relation` views.
  explicit CapturedRelation(const wire::Relation& relation);

  [[nodiscard]] const wire::Relation& described() const { return relation_; }
  // What the epoch makes of it; at most one of the two, and neither where it carries nothing of it.
  // Valid until the next call.
  struct Reading {
    CapturedTable* table = nullptr;
    const ExistingOutbox* outbox = nullptr;
  };
  [[nodiscard]] Reading in(const Epoch& epoch);

 private:
  std::unique_ptr<std::vector<std::string>> names_;  // of the columns; the heap does not move
  std::unique_ptr<std::string> schema_;
  std::unique_ptr<std::string> name_;
  wire::Relation relation_;  // views them
  std::optional<std::uint32_t> epoch_;
  std::optional<CapturedTable> table_;
  std::optional<ExistingOutbox> outbox_;
};

}  // namespace postrider
