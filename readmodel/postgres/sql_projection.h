// A projection that is a function in the target database: function(events postrider.event[]).
#pragma once

#include <string>

#include "readmodel/projection.h"

namespace postrider {

class SqlProjection final : public Projection {
 public:
  // `function` as the configuration has it, "name" or "schema.name"; each part is quoted here.
  SqlProjection(std::string subjects, std::string function);

  [[nodiscard]] std::string name() const override { return function_; }
  [[nodiscard]] const std::string& subjects() const { return subjects_; }
  // As a statement can call it.
  [[nodiscard]] std::string quoted_function(const pqxx::transaction_base& tx) const;
  // One call with all events whose subject matches; none when there are none.
  void apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events) override;

 private:
  std::string subjects_;
  std::string function_;
};

}  // namespace postrider
