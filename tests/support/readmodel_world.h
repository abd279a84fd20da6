// A world with a read model: a second PostgreSQL cluster that holds it, an applier, and a bank.
//
// The bank: account holders transfer money in the source; two events a transfer. In the read model
// the balances of every committed state add up to nothing, so a torn transaction shows. Its
// projection is not idempotent: it counts events and chains their ids by key, so that an event
// applied twice, left out or out of order shows for ever.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/world.h"

namespace postrider::test {

// What the bank's projection must have made of the stream.
struct Account {
  long balance = 0;
  long events = 0;
  long chain = 0;
  friend bool operator==(const Account&, const Account&) = default;
};
std::ostream& operator<<(std::ostream& out, const Account& account);
using Accounts = std::map<std::string, Account>;

// What makes the roles of a read models' cluster, and the database, owned by "owner".
[[nodiscard]] std::vector<std::string> target_roles(const std::string& database);

class ReadModelWorld : public World {
 protected:
  ReadModelWorld();
  ~ReadModelWorld() override;

  // The configuration of the bank's read model "bank"; `more` is appended as TOML.
  [[nodiscard]] std::filesystem::path write_apply_config(const std::string& readmodel_keys = {},
                                                         const std::string& more = {},
                                                         const std::string& name = "apply");
  std::unique_ptr<RelayProcess> start_applier(const std::string& failpoints = {},
                                              const std::string& name = "apply",
                                              const std::string& readmodel_keys = {},
                                              const std::vector<std::string>& arguments = {});
  // Runs `postrider apply --until-caught-up` and expects success.
  void apply_all();

  // SQL in the target as superuser; the first column of the first row.
  std::string target_sql(const std::string& statement);
  // As the role that applies: what it makes it may use.
  std::string applier_sql(const std::string& statement);
  [[nodiscard]] std::string target_conninfo(const std::string& role) const;
  // Waits until the read model has applied everything in the stream.
  [[nodiscard]] bool wait_for_applied(std::uint64_t ordinal,
                                      dev::milliseconds limit = dev::milliseconds{60'000});
  [[nodiscard]] std::uint64_t applied_ordinal();

  // From the stream, read by a client of the tests' own.
  [[nodiscard]] Accounts expected_accounts();
  [[nodiscard]] Accounts accounts();

  dev::PostgresServer target_;
};

// Transfers from several writers at once, some rolled back, some in one transaction; survives
// restarts of the source.
class Bank {
 public:
  Bank(std::string app, int writers);
  ~Bank();
  void stop();
  [[nodiscard]] long transactions() const { return transactions_; }
  void wait_for_more(long transactions) const;

 private:
  void run(int number);

  std::string app_;
  std::atomic<bool> stop_{false};
  std::atomic<long> transactions_{0};
  std::vector<std::thread> threads_;
};

// Looks at the read model all the time: in each read the balances must add up to nothing, and no
// account's count may fall.
class BankReader {
 public:
  explicit BankReader(std::string conninfo);
  ~BankReader();
  // Stops, and says what was wrong; empty for nothing.
  [[nodiscard]] std::string stop();
  [[nodiscard]] long reads() const { return reads_; }

 private:
  void run();

  std::string conninfo_;
  std::atomic<bool> stop_{false};
  std::atomic<long> reads_{0};
  std::string problem_;
  std::thread thread_;
};

}  // namespace postrider::test
