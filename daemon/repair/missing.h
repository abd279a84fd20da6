// Which rows of the outbox the stream lacks. Pure: one partition of ids at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "daemon/verify/stream_join.h"

namespace postrider {

struct MissingRows {
  std::vector<OutboxRow> rows;  // to be sent again, in no order
  std::uint64_t present = 0;    // rows that the stream holds
  std::uint64_t uncertain = 0;  // may have been carried by messages that are gone by age
};

// `events`: what of the stream is kept; those with an ordinal above `keep` are given up, and their
// rows missing for certain. A row
// whose transaction began at or before `horizon_us` (nothing: none) is uncertain. Adds to `into`.
void find_missing(std::vector<OutboxRow> rows, std::vector<StoredEvent> events, std::uint64_t keep,
                  std::optional<std::int64_t> horizon_us, MissingRows& into);

// Of rows that are missing, how many the slot will never send: their transactions have ids below
// `passed_xid` (SlotState), and began after the stream's oldest message was committed at
// `since_us`, so that they are not older than the source. The others may be on their way.
[[nodiscard]] std::uint64_t count_lost(const std::vector<OutboxRow>& missing,
                                       std::uint64_t passed_xid, std::int64_t since_us);

// The lowest ordinal above `durable` whose event has no row: from there on the stream may hold what
// this source never committed. Nothing: every event has its row.
[[nodiscard]] std::optional<std::uint64_t> first_unproven(const std::vector<OutboxRow>& rows,
                                                          const std::vector<StoredEvent>& events,
                                                          std::uint64_t durable);

}  // namespace postrider
