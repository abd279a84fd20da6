// A physical standby of one of the tests' PostgreSQL servers, fed through a slot of its own. Not
// thread-safe. Errors are std::runtime_error.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "dev/postgres_server.h"

namespace postrider::test {

class Standby {
 public:
  // The standby's slot on the primary.
  static constexpr const char* kSlot = "standby";

  // Restarts `primary`, which must outlive this, to copy its data into `folder`, which is made, and
  // starts the copy. `database` is what slots are synchronised through.
  Standby(dev::PostgresServer& primary, std::filesystem::path folder, std::string database);
  ~Standby();
  Standby(const Standby&) = delete;
  Standby& operator=(const Standby&) = delete;

  [[nodiscard]] dev::PostgresServer& server() { return server_; }
  // libpq conninfo of whichever of the two may be written to.
  [[nodiscard]] std::string writable_conninfo(const std::string& user,
                                              const std::string& database) const;

  // Waits until it has replayed all that the primary has flushed.
  void wait_until_caught_up();
  // Stops the process of the primary that feeds it: what is committed from now on it does not have.
  void hold_back();
  void let_go();
  // Has the primary's failover slots followed by a process of the standby's, or no longer
  // (PostgreSQL 17).
  void follow_slots(bool follow);
  // Whether the standby has this slot for good: one that would survive a promotion.
  [[nodiscard]] bool has_slot(const std::string& slot);
  // Follows them once, to where they are now.
  void follow_slots_once();
  // Ends the primary as a power loss would, and makes this the primary.
  void replace_primary();

 private:
  std::string ask(const dev::PostgresServer& server, const std::string& query) const;

  dev::PostgresServer& primary_;
  std::filesystem::path folder_;
  std::string database_;
  dev::PostgresServer server_;
  pid_t held_ = 0;
};

}  // namespace postrider::test
