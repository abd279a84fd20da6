// One row change in terms of a target table's columns. Pure.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "readmodel/replica/row_json.h"

namespace postrider::replica {

// A value of one column, as the event has it.
struct Cell {
  enum class Kind : std::uint8_t {
    kAbsent,  // the event says nothing: the target keeps what it has, or its default
    kNull,
    kValue,
  };
  Kind kind = Kind::kAbsent;
  std::string_view json =
      {};  // of kValue: JSON text, which may be `null` for a column of type json

  [[nodiscard]] bool present() const { return kind != Kind::kAbsent; }
  friend bool operator==(const Cell&, const Cell&) = default;
};

// By the target table's columns, in their order.
using Cells = std::vector<Cell>;

// Views the event's payload.
struct Change {
  Op op = Op::kInsert;
  Cells row;             // of insert, read and update; else empty
  Cells old;             // of delete, and of update where the event has it; else empty
  bool complete = true;  // nothing of the source's row is missing in `row`
};

// The cells of `newer`, and where it says nothing those of `older`.
[[nodiscard]] Cells merged(const Cells& older, const Cells& newer);

}  // namespace postrider::replica
