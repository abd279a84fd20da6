// Writes events as fast as one connection can, as many as it is asked for, and remembers which
// commits it was told of: a commit that the client knows of and that is gone after a power loss
// has vanished. Its events stand in table `written`, too. Not thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace postrider::test {

class Filler {
 public:
  // As superuser: the table of its transactions.
  static void make_table(const std::string& superuser);

  Filler(std::string conninfo, std::uint64_t seed);
  ~Filler();
  Filler(const Filler&) = delete;
  Filler& operator=(const Filler&) = delete;

  void more(std::uint64_t events) { wanted_ += events; }
  // Nothing after the transaction that it is at.
  void enough() { wanted_ = done_.load(); }
  [[nodiscard]] std::uint64_t committed() const { return done_; }
  [[nodiscard]] bool idle() const { return done_ >= wanted_; }
  // synchronous_commit of the transactions that begin from now on.
  void set_synchronous(bool synchronous) { synchronous_ = synchronous; }
  // Transactions and events that were reported as committed and that the table does not have.
  // Forgets them: a second call counts only what vanished since.
  struct Vanished {
    std::uint64_t transactions = 0;
    std::uint64_t events = 0;
  };
  [[nodiscard]] Vanished vanished(const std::string& superuser);

 private:
  void run();

  std::string conninfo_;
  std::uint64_t seed_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> synchronous_{true};
  std::atomic<std::uint64_t> wanted_{0};
  std::atomic<std::uint64_t> done_{0};
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> committed_;  // number of the transaction, its events
  std::thread thread_;
};

}  // namespace postrider::test
