// One test's world: a private PostgreSQL and nats-server, migrated, with the oracle's slot, and as
// many relays as the test starts. Everything is stopped and removed at the end; when the test has
// failed, the relay's log is printed.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "dev/environment.h"
#include "tests/support/checker.h"
#include "tests/support/nats_client.h"
#include "tests/support/oracle.h"
#include "tests/support/relay_process.h"
#include "tests/support/workload.h"

namespace postrider::test {

inline constexpr const char* kSource = "shop";
inline constexpr const char* kStream = "SHOP";

// Runs a statement on a connection of its own; the first column of the first row. Throws
// std::runtime_error with the server's message.
std::string query(const std::string& conninfo, const std::string& statement);

class World : public ::testing::Test {
 public:
  // Fast settings that every test starts from: what was published 300 ms ago is confirmed.
  [[nodiscard]] static Settings quick();
  // Confirms so late that no test sees it.
  [[nodiscard]] static Settings unconfirmed();

 protected:
  World();
  ~World() override;

  // Writes a configuration under `name` and starts a relay with it.
  std::unique_ptr<RelayProcess> start_relay(const Settings& settings = quick(),
                                            const std::string& failpoints = {},
                                            const std::string& name = "relay",
                                            const std::vector<std::string>& arguments = {});
  std::filesystem::path write_config(const Settings& settings, const std::string& name);
  // Runs `postrider relay --until-caught-up` and expects success.
  void catch_up(const Settings& settings = quick());
  // Runs postrider with these arguments; its output is in `output`.
  int postrider(const std::vector<std::string>& arguments);
  std::string output() const;

  // The stream, whole, against the oracle and what was written.
  [[nodiscard]] Verdict verdict(std::size_t from = 0);
  [[nodiscard]] std::uint64_t last_seq();
  // Waits until the stream's last sequence is at least `seq`.
  [[nodiscard]] bool wait_for_seq(std::uint64_t seq,
                                  dev::milliseconds limit = dev::milliseconds{60'000});

  // SQL as superuser in the source's database; the first column of the first row.
  std::string sql(const std::string& statement);
  // The same as the service.
  std::string app_sql(const std::string& statement);
  // Drops the relay's slot once nobody holds it: a walsender outlives its relay for a moment.
  void drop_slot();
  [[nodiscard]] std::string superuser() const;
  [[nodiscard]] std::string conninfo(const std::string& role) const;
  [[nodiscard]] Workload::Options writers() const;
  // Runs concurrent writers, of everything that a Workload does, until they have committed at least
  // that many more events. Returns how many are committed in all: the sequence that a stream with
  // all of them ends at.
  std::uint64_t write(std::uint64_t events);
  // Events that were committed by a Workload, or with a row in `written` of their own.
  [[nodiscard]] std::uint64_t committed();
  [[nodiscard]] NatsClient nats_client();

  std::filesystem::path folder_;
  dev::Environment environment_;
  dev::PostgresServer& postgres_;
  dev::NatsServer& nats_;
  std::unique_ptr<Oracle> oracle_;
};

}  // namespace postrider::test
