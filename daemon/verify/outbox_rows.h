// The rows of outbox.events in one snapshot, read as a stream. The relay's rights are enough; no
// row is locked. Not thread-safe. Throws Failure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/postgres/sql.h"
#include "daemon/verify/stream_join.h"
#include "postrider/lsn.h"

namespace postrider {

class OutboxRows {
 public:
  // Takes the snapshot; or reads in the one that another connection exports under this name.
  explicit OutboxRows(const std::string& conninfo, const std::string& exported = {});
  ~OutboxRows();

  // Every transaction that the snapshot shows committed before this place.
  [[nodiscard]] Lsn place() const { return place_; }
  [[nodiscard]] std::uint32_t timeline() const { return timeline_; }
  // Replaces `rows` by the next ones; false at the end, which also ends the transaction.
  [[nodiscard]] bool next(std::vector<OutboxRow>& rows);

  // Afterwards: where the slot is confirmed; nothing when there is no such slot.
  [[nodiscard]] std::optional<Lsn> confirmed(const std::string& slot);
  // The newest message that the source's checkpoint row knows to be durable.
  struct Durable {
    std::string incarnation;  // of the stream; empty: of none
    std::uint64_t seq = 0;
  };
  [[nodiscard]] Durable durable(const std::string& source);

 private:
  std::unique_ptr<pqxx::connection> connection_;
  std::unique_ptr<pqxx::transaction_base> tx_;
  Lsn place_;
  std::uint32_t timeline_ = 0;
};

}  // namespace postrider
