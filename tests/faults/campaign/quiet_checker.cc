#include "tests/faults/campaign/quiet_checker.h"

namespace postrider::campaign {

std::string replica_differs(const std::string& table, const TableRows& source,
                            const TableRows& replica) {
  if (source == replica) return {};
  return "replica " + table + " differs: " + source.count + " rows " + source.hash + " and " +
         replica.count + " rows " + replica.hash;
}

std::string left_behind(const SlotState& slot, std::uint64_t lsn) {
  if (!slot.active) return "nobody has the slot after everything has healed";
  const auto behind = [lsn](const char* what, std::uint64_t at) {
    return std::string("the slot ") + what + " " + std::to_string(at) + ", not " +
           std::to_string(lsn) + ", after everything has healed";
  };
  if (slot.confirmed < lsn) return behind("is confirmed to", slot.confirmed);
  if (slot.restart < lsn) return behind("retains WAL from", slot.restart);
  return {};
}

}  // namespace postrider::campaign
