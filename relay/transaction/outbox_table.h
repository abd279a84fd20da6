// Finds the fields of an event in a row of outbox.events, by column name: the WAL says with which
// columns each row was written, so columns may be added or reordered while the relay runs. Pure.
#pragma once

#include <array>
#include <cstddef>

#include "base/error.h"
#include "relay/transaction/outbox_event.h"
#include "relay/wire/pgoutput.h"

namespace postrider {

inline constexpr std::string_view kOutboxSchema = "outbox";
inline constexpr std::string_view kOutboxTable = "events";

class OutboxTable {
 public:
  // kMalformedEvent, with the missing column's name, when the relation is not the table that the
  // migration makes.
  [[nodiscard]] static Result<OutboxTable> resolve(const wire::Relation& relation);

  // Reads one row into `event`, reusing its memory. kMalformedEvent for what emit never writes.
  [[nodiscard]] Result<void> read(const wire::Tuple& row, OutboxEvent& event) const;

 private:
  enum Field : std::size_t {
    kId,
    kSubject,
    kKey,
    kType,
    kContentType,
    kHeaders,
    kPayload,
    kPayloadBytes,
    kFieldCount
  };

  std::array<std::size_t, kFieldCount> column_{};
};

}  // namespace postrider
