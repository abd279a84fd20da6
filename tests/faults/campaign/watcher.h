// A consumer that reads the stream while everything breaks, and remembers what it saw: an ordinal
// must never have two contents, also when the broker lost it and it was published again.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/campaign/content_checker.h"

namespace postrider::campaign {

class Watcher {
 public:
  explicit Watcher(std::uint16_t broker_port);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Last sequence of the stream when it was last looked at.
  [[nodiscard]] const std::atomic<std::uint64_t>& published() const { return published_; }
  void stop();

  // From here on: only when stopped.
  // Notes a message; also what the last reading of the whole stream finds.
  void note(const test::StreamMessage& message) { contents_.see(message); }
  [[nodiscard]] std::uint64_t destroyed() const { return destroyed_; }  // acknowledged, then gone
  [[nodiscard]] const std::vector<std::string>& problems() const { return contents_.problems(); }

 private:
  void run();

  std::uint16_t port_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> published_{0};
  std::uint64_t seen_seq_ = 0;
  std::uint64_t destroyed_ = 0;
  ContentChecker contents_;
  std::thread thread_;
};

}  // namespace postrider::campaign
