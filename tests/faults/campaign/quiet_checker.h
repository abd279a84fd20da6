// What must hold when the writers have stopped and everything has healed. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace postrider::campaign {

// C7: the rows of one table, as one side has them.
struct TableRows {
  std::string count;
  std::string hash;  // the sum of the rows' hashes: the order of reading does not matter
  friend bool operator==(const TableRows&, const TableRows&) = default;
};
// What is wrong with the replica's rows; "" when nothing is.
[[nodiscard]] std::string replica_differs(const std::string& table, const TableRows& source,
                                          const TableRows& replica);

// C9: the slot when last looked at.
struct SlotState {
  bool active = false;
  std::uint64_t confirmed = 0;  // LSN
  std::uint64_t restart = 0;    // LSN; WAL is retained from here on
};
// What is wrong with it once it has had the time to move past `lsn`, and to let go of the WAL
// before; "" when nothing is.
[[nodiscard]] std::string left_behind(const SlotState& slot, std::uint64_t lsn);

}  // namespace postrider::campaign
