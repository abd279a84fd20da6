// Which rows of the table store are not in the stream yet, told from outside. Pure.
//
// Rows do not say where in the WAL they were committed, but they say when their transaction began,
// and a message says when its transaction was committed. So a row that is younger than the oldest
// of the newest messages is one of those messages, by its id, or it is not in the stream. What this
// misses: transactions that stayed open over all of those messages, and the rest of one that is in
// the stream in part. The wal store leaves no rows and is not counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace postrider {

struct OutboxRow {
  std::string id;
  std::int64_t created_at_us = 0;  // since 1970-01-01 UTC, by the source's clock
};

// The newest messages of the stream, as far back as was looked.
struct NewestMessages {
  std::set<std::string> ids;  // Postrider-Id
  std::int64_t oldest_commit_us =
      0;  // of the oldest of them; 0: the stream holds no more than these
};

struct Unpublished {
  std::size_t rows = 0;
  std::int64_t oldest_us = 0;  // created_at of the oldest; 0 when there is none
  // True when no more rows were read than these: there may be older ones.
  bool at_least = false;
};

// `rows` are the newest, at most `limit`; the caller read no more.
[[nodiscard]] Unpublished find_unpublished(const std::vector<OutboxRow>& rows,
                                           const NewestMessages& newest, std::size_t limit);

}  // namespace postrider
