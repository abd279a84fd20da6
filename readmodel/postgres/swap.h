// The moment at which a rebuilt read model takes the live one's place: one transaction, on a
// connection of its own.
//
// From hold() on the live applier waits at its cursor; what it has committed is all there is. Then
// the rebuild catches up, and exchange() puts the new tables there. Readers see the old tables or
// the new ones, never both in one statement and never an older state:
// - the cursor row of the live one is locked, and the new one must have reached it;
// - snapshots taken before that must end first: they would find the new tables as they were then;
// - all live tables are locked, so that whoever has read one of them in a transaction reads the
//   others beside it, and whoever comes later finds the new ones by their names.
// Every wait is short, less than it takes to be a deadlock's victim; where it is not enough,
// nothing has happened, and the caller lets go (by destruction) and tries again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/postgres/sql.h"
#include "readmodel/options.h"

namespace postrider {

class Swap {
 public:
  // Both outlive this. Calls throw Failure.
  Swap(pqxx::connection& connection, const ReadModelOptions& live);

  // Locks the live cursor. Nothing when somebody is in the middle of an application there.
  [[nodiscard]] std::optional<std::uint64_t> hold();  // the live cursor's ordinal

  enum class Outcome { kDone, kBehind, kOldSnapshots, kTablesInUse };
  // kBehind: the rebuild has not reached the live cursor. Commits where it says kDone; a broken
  // connection leaves it in doubt, which the live cursor's generation resolves.
  [[nodiscard]] Outcome exchange();
  // Who is waited for, after kOldSnapshots or kTablesInUse; for people.
  [[nodiscard]] const std::string& whom() const { return whom_; }

 private:
  [[nodiscard]] bool old_snapshots_end();
  [[nodiscard]] bool lock_tables();
  void carry_privileges();
  void rename();
  void move_rows();

  pqxx::connection& connection_;
  const ReadModelOptions& live_;
  const ReadModelOptions anew_;
  std::optional<pqxx::work> tx_;
  std::uint64_t live_ordinal_ = 0;
  std::uint64_t new_ordinal_ = 0;
  std::string whom_;
};

}  // namespace postrider
