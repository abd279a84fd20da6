// What the parts of the injector share: bounds of patience, and statements that break a server.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>

#include "tests/faults/campaign/sql.h"

namespace postrider::campaign {

inline constexpr std::chrono::milliseconds kPatience{30'000};
// A fault that holds the writers up, too, ends after so long.
inline constexpr std::chrono::milliseconds kLongest{8'000};

// Statements on a server that may be away just now: then there is nothing to break.
inline void try_sql(const std::string& conninfo, const std::string& statement) {
  try {
    Sql(conninfo).run(statement);
  } catch (const SqlError&) {
  }
}

inline constexpr const char* kEndClients =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('client "
    "backend', 'walsender') AND pid <> pg_backend_pid()";
inline constexpr const char* kEndWalsender =
    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = "
    "'postrider_shop' AND active_pid IS NOT NULL";

inline void must(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

}  // namespace postrider::campaign
