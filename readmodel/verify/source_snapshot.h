// A snapshot of the source at a known place of its WAL, without a lock on anything.
//
// A temporary logical slot is made for it: PostgreSQL exports the snapshot at the slot's consistent
// point P. It shows exactly the transactions whose commit record starts before P. The slot lives as
// long as this object, keeps WAL for so long, and goes with the connection however it ends.
//
// Not thread-safe. Throws Failure. Source: PostgreSQL documentation, "Streaming Replication
// Protocol", CREATE_REPLICATION_SLOT.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "postrider/lsn.h"

typedef struct pg_conn PGconn;  // libpq's; only the implementation looks inside
typedef struct pg_result PGresult;

namespace postrider {

class SourceSnapshot {
 public:
  // Connects, as a role with REPLICATION; makes no slot yet.
  explicit SourceSnapshot(const std::string& conninfo);
  ~SourceSnapshot();
  SourceSnapshot(const SourceSnapshot&) = delete;
  SourceSnapshot& operator=(const SourceSnapshot&) = delete;

  // Makes the slot. It waits for transactions that are writing now, and for prepared ones: false
  // when they have not ended after `limit`; then there is no slot, and this may be tried again.
  // Whoever is killed meanwhile leaves it to the server, which gives up each wait soon after.
  [[nodiscard]] bool take(std::chrono::milliseconds limit);
  // The same with a slot of this name that stays.
  [[nodiscard]] bool take_with_slot(const std::string& slot, std::chrono::milliseconds limit);

  // ---- After take() ----
  [[nodiscard]] const std::string& system_id() const { return system_id_; }
  [[nodiscard]] std::uint32_t timeline() const { return timeline_; }
  [[nodiscard]] Lsn point() const { return point_; }
  // For SET TRANSACTION SNAPSHOT on another connection, while this object lives.
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  struct CloseConnection {
    void operator()(PGconn* connection) const;
  };
  struct ClearResult {
    void operator()(PGresult* result) const;
  };
  using ResultPtr = std::unique_ptr<PGresult, ClearResult>;

  // The command's result; nothing when it was cancelled at the deadline.
  ResultPtr execute(const std::string& command, std::chrono::milliseconds limit);
  [[nodiscard]] bool take(const std::string& create, std::chrono::milliseconds limit);
  void set(const std::string& settings);
  [[noreturn]] void throw_result(const PGresult* result, const std::string& what) const;

  std::unique_ptr<PGconn, CloseConnection> connection_;
  std::string system_id_;
  std::uint32_t timeline_ = 0;
  Lsn point_;
  std::string name_;
};

}  // namespace postrider
