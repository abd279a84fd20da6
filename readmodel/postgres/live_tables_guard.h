// Takes part in a rebuild as its last projection, and changes nothing: it fails the batch when a
// projection before it has touched the live tables, because it names their schema. Else their rows
// would be changed a second time.
#pragma once

#include <string>

#include "readmodel/projection.h"

namespace postrider {

class LiveTablesGuard final : public Projection {
 public:
  explicit LiveTablesGuard(std::string live_schema) : live_schema_(std::move(live_schema)) {}

  [[nodiscard]] std::string name() const override { return "guard of the live tables"; }
  // Throws Failure(kConfiguration), naming a table.
  void apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events) override;

 private:
  std::string live_schema_;
};

}  // namespace postrider
