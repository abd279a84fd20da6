// Concurrent writers that do everything a service may do to its outbox: plain commits, many events
// in one statement, COPY, savepoints that abort, rollbacks, prepared transactions, both stores.
//
// What they committed, with subject and payload, is in table `written` of the same transactions.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/checker.h"

namespace postrider::test {

// As superuser: the table that says what was written.
void make_written_table(const std::string& superuser);
[[nodiscard]] std::map<std::string, Written> read_written(const std::string& superuser);

class Workload {
 public:
  struct Options {
    std::string app;    // conninfo of a member of postrider_writer
    std::string owner;  // conninfo of the outbox's owner: for COPY
    int writers = 4;
    bool wal_store = true;
    std::chrono::milliseconds pause{0};  // after each transaction of a writer
  };

  // Starts the writers.
  explicit Workload(Options options);
  // Stops and joins them. A writer survives a restart of PostgreSQL by connecting again.
  ~Workload();
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  void stop();
  // Transactions that ended, either way.
  [[nodiscard]] long transactions() const { return transactions_; }
  // Waits until that many more have ended; throws after a minute.
  void wait_for_more(long transactions) const;

 private:
  void run(int number);

  Options options_;
  std::atomic<bool> stop_{false};
  std::atomic<long> transactions_{0};
  std::vector<std::thread> threads_;
};

}  // namespace postrider::test
