// Joins the parts of a large row into one event. Pure.
//
// It stands behind the chain, which has seen to it that nothing is missing between two messages;
// this sees to it that a row begins with its first part and ends with its last. Memory: one row.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "postrider/received_event.h"

namespace postrider {

class RowParts {
 public:
  // Takes the next message of the stream. The event that it completes: itself where it is no part,
  // nothing while parts are missing. kTornTransaction when it does not go on with the row begun.
  [[nodiscard]] Result<std::optional<ReceivedEvent>> add(ReceivedEvent&& message);

 private:
  std::optional<ReceivedEvent> row_;
  std::uint32_t next_ = 0;
};

}  // namespace postrider
