// Where WAL can end. Pure. Source: PostgreSQL, src/include/access/xlog_internal.h.
#pragma once

#include <cstdint>

#include "postrider/lsn.h"

namespace postrider {

// An LSN just behind a WAL page's header is where the next record would go, but nothing ends there:
// the server never reports it as decoded or flushed. The page before ends where the page begins.
[[nodiscard]] constexpr Lsn reachable(Lsn lsn) {
  constexpr std::uint64_t kPageSize = 8192;
  constexpr std::uint64_t kShortHeader = 24;
  constexpr std::uint64_t kLongHeader = 40;
  const std::uint64_t offset = lsn.value % kPageSize;
  return offset == kShortHeader || offset == kLongHeader ? Lsn{lsn.value - offset} : lsn;
}

}  // namespace postrider
