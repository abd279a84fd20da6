// What the target's catalog says of a replica's table.
#pragma once

#include <optional>
#include <string>

#include "base/postgres/sql.h"
#include "readmodel/replica/target_table.h"

namespace postrider {

// Nothing when there is no such table. kReplicaTable for what rows cannot be written into by key.
[[nodiscard]] std::optional<replica::TargetTable> find_target_table(pqxx::transaction_base& tx,
                                                                    const std::string& schema,
                                                                    const std::string& name);

}  // namespace postrider
