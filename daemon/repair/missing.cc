#include "daemon/repair/missing.h"

#include <algorithm>
#include <set>

namespace postrider {
void find_missing(std::vector<OutboxRow> rows, std::vector<StoredEvent> events, std::uint64_t keep,
                  std::optional<std::int64_t> horizon_us, MissingRows& into) {
  std::set<Digest> given_up;
  std::erase_if(events, [&](const StoredEvent& event) {
    if (event.ordinal <= keep) return false;
    given_up.insert(event.id);
    return true;
  });
  std::ranges::sort(rows, {}, &OutboxRow::id);
  std::ranges::sort(events, {}, &StoredEvent::id);
  std::optional<Digest> previous;
  for (const auto& row : rows) {
    if (previous == row.id) continue;  // an event has one id, however often it was written
    previous = row.id;
    if (std::ranges::binary_search(events, row.id, {}, &StoredEvent::id))
      ++into.present;
    else if (horizon_us && !given_up.contains(row.id) && row.created_us <= *horizon_us)
      ++into.uncertain;
    else
      into.rows.push_back(row);
  }
}

std::uint64_t count_lost(const std::vector<OutboxRow>& missing, std::uint64_t passed_xid,
                         std::int64_t since_us) {
  return static_cast<std::uint64_t>(std::ranges::count_if(missing, [&](const OutboxRow& row) {
    return row.xid < passed_xid && row.created_us > since_us;
  }));
}

std::optional<std::uint64_t> first_unproven(const std::vector<OutboxRow>& rows,
                                            const std::vector<StoredEvent>& events,
                                            std::uint64_t durable) {
  std::set<Digest> ids;
  for (const auto& row : rows) ids.insert(row.id);
  std::optional<std::uint64_t> first;
  for (const auto& event : events) {
    if (event.ordinal <= durable) continue;
    if (ids.contains(event.id)) continue;
    if (!first || event.ordinal < *first) first = event.ordinal;
  }
  return first;
}

}  // namespace postrider
