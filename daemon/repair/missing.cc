#include "daemon/repair/missing.h"

#include <algorithm>
#include <map>

namespace postrider {
namespace {

constexpr std::uint64_t kXidBits = 0xFFFFFFFF;

}  // namespace

void find_missing(std::vector<OutboxRow> rows, std::vector<StoredEvent> events, std::uint64_t keep,
                  std::optional<std::int64_t> horizon_us, MissingRows& into) {
  std::erase_if(events, [&](const StoredEvent& event) { return event.ordinal > keep; });
  std::ranges::sort(rows, {}, &OutboxRow::id);
  std::ranges::sort(events, {}, &StoredEvent::id);
  std::optional<Digest> previous;
  for (const auto& row : rows) {
    if (previous == row.id) continue;  // an event has one id, however often it was written
    previous = row.id;
    if (std::ranges::binary_search(events, row.id, {}, &StoredEvent::id))
      ++into.present;
    else if (horizon_us && row.created_us <= *horizon_us)
      ++into.uncertain;
    else
      into.rows.push_back(row);
  }
}

std::optional<std::uint64_t> first_unproven(const std::vector<OutboxRow>& rows,
                                            const std::vector<StoredEvent>& events,
                                            std::uint64_t durable) {
  std::map<Digest, std::uint64_t> xids;
  for (const auto& row : rows) xids.emplace(row.id, row.xid & kXidBits);
  std::optional<std::uint64_t> first;
  for (const auto& event : events) {
    if (event.ordinal <= durable) continue;
    const auto found = xids.find(event.id);
    if (found != xids.end() && found->second == event.xid) continue;
    if (!first || event.ordinal < *first) first = event.ordinal;
  }
  return first;
}

}  // namespace postrider
