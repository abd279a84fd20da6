// Events as arguments of postrider.to_events: one text array a column.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "postrider/received_event.h"

namespace postrider {

// "postrider.to_events($1::bigint[], ...)" with twelve parameters from $1 on.
extern const char* const kToEvents;
inline constexpr std::size_t kEventColumns = 12;

class EventArrays {
 public:
  EventArrays();
  ~EventArrays();
  EventArrays(const EventArrays&) = delete;
  EventArrays& operator=(const EventArrays&) = delete;

  void add(const ReceivedEvent& event);
  [[nodiscard]] bool empty() const { return count_ == 0; }
  // The parameters in their order; empty afterwards.
  [[nodiscard]] std::array<std::string, kEventColumns> take();

 private:
  struct Columns;
  std::unique_ptr<Columns> columns_;
  std::size_t count_ = 0;
};

}  // namespace postrider
