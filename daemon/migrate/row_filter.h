// What a row filter (capture.where) needs of the tables that it filters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/postgres/sql.h"
#include "relay/progress/capture_rule.h"

namespace postrider {

struct FilteredColumn {
  std::string table;  // quoted, with its schema; of a partitioned table, the partition
  std::string column;
};

// One that the filter of a published table reads and the replica identity does not hold: PostgreSQL
// would refuse each update and delete of the service.
[[nodiscard]] std::optional<FilteredColumn> column_beyond_identity(pqxx::transaction_base& tx,
                                                                   const std::string& publication);

// One that the rule carries of the table, and whose large value the WAL leaves out of an update
// that does not touch it. Where such an update brings the row into the filter, PostgreSQL makes an
// insert of it, and no reader ever had the value. REPLICA IDENTITY FULL has it in the old row.
[[nodiscard]] std::optional<FilteredColumn> column_lost_to_filter(pqxx::transaction_base& tx,
                                                                  const CaptureRule& rule,
                                                                  std::int64_t table_oid);

}  // namespace postrider
