// Services that write: each transaction moves cents between two accounts and emits events of a few
// keys. Some roll back, some abort a savepoint, some are prepared first, some are large, some alter
// the bank's table. They go on while the source dies.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/campaign/history.h"

namespace postrider::campaign {

class Workload {
 public:
  struct Options {
    std::string app;  // conninfo
    std::uint64_t seed = 0;
    int writers = 8;
    int keys = 1000;
    std::uint64_t lead = 20'000;  // messages that they may be ahead of the stream
  };

  // Starts the writers. `published` is how many messages the stream holds; it must outlive this.
  Workload(Options options, const std::atomic<std::uint64_t>& published);
  ~Workload();
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  // Ends the writers and decides all transactions that are still prepared: the source must run.
  void stop();

  [[nodiscard]] std::uint64_t transactions() const { return transactions_; }  // ended, either way
  [[nodiscard]] std::uint64_t messages() const { return messages_; }  // of those known to commit
  // They wait for the stream.
  // While the read models catch up one writer goes on, slowly: eight could outrun them for ever.
  void slow_down(bool slow) { slow_ = slow; }
  [[nodiscard]] bool held_up() const { return messages_ > published_ + options_.lead; }
  // Only when stopped.
  [[nodiscard]] const std::vector<History>& histories() const { return histories_; }

 private:
  void run(std::size_t number);

  Options options_;
  const std::atomic<std::uint64_t>& published_;
  std::atomic<bool> slow_{false};
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> transactions_{0};
  std::atomic<std::uint64_t> messages_{0};
  std::vector<History> histories_;
  std::vector<std::thread> threads_;
};

}  // namespace postrider::campaign
