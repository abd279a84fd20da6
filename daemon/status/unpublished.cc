#include "daemon/status/unpublished.h"

#include <algorithm>

namespace postrider {

Unpublished find_unpublished(const std::vector<OutboxRow>& rows, const NewestMessages& newest,
                             std::size_t limit) {
  Unpublished found;
  for (const auto& row : rows) {
    if (row.created_at_us <= newest.oldest_commit_us || newest.ids.contains(row.id)) continue;
    ++found.rows;
    found.oldest_us =
        found.oldest_us == 0 ? row.created_at_us : std::min(found.oldest_us, row.created_at_us);
  }
  found.at_least = found.rows >= limit;
  return found;
}

}  // namespace postrider
