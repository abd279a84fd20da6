// Readers of both databases while everything breaks. A server that is away says nothing; what it
// says must be of one moment, and nothing may go back.
//
// C6: every read of the read models is a committed state. C8: the slot is never told to forget what
// the broker may not have synced; checkpoint and cursors never fall. C9: what the slot retains.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/campaign/stream_checker.h"

namespace postrider::campaign {

// When the slot was seen confirmed to that LSN, by the source's clock.
struct Confirmed {
  std::uint64_t lsn = 0;
  std::uint64_t time_us = 0;
};

// Confirmations of what the broker had stored less than `sync_us` before, or has stored since: the
// clocks of source and broker are one.
[[nodiscard]] std::vector<std::string> confirmed_early(const std::vector<Confirmed>& confirmed,
                                                       const std::vector<Mark>& marks,
                                                       std::uint64_t sync_us);

// One read of the read models, all of it in one statement.
struct ModelRead {
  long tally_cents = 0;
  long tally_events = 0;     // the sum of the keys' counters
  long progress_events = 0;  // counted by batch
  long tally_ordinal = 0;    // the cursors
  long copy_cents = 0;
  long copy_ordinal = 0;
};
// What is wrong with it, after another one; "" when nothing is.
[[nodiscard]] std::string torn_read(const ModelRead& before, const ModelRead& now);

// One look at the source: what the slot was told, and then what the checkpoint row says.
struct SourceRead {
  std::uint64_t confirmed = 0;  // LSN of the slot
  std::uint64_t confirm_to = 0;
  std::uint64_t ordinal = 0;
  std::uint64_t session = 0;
};
// What is wrong with it, after another one; nothing read means that the slot or the row is gone.
[[nodiscard]] std::vector<std::string> source_problems(const SourceRead& before,
                                                       const std::optional<SourceRead>& now);

class Observer {
 public:
  Observer(std::string source, std::string target);
  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  void stop();
  [[nodiscard]] std::uint64_t reads() const { return reads_; }
  [[nodiscard]] std::uint64_t retained_peak() const { return retained_peak_; }
  // Only when stopped.
  [[nodiscard]] const std::vector<Confirmed>& confirmed() const { return confirmed_; }
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }

 private:
  void watch_source();
  void watch_target();
  void problem(const std::string& text);

  std::string source_;
  std::string target_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> reads_{0};
  std::atomic<std::uint64_t> retained_peak_{0};
  std::vector<Confirmed> confirmed_;
  std::mutex mutex_;
  std::vector<std::string> problems_;
  std::thread source_thread_;
  std::thread target_thread_;
};

}  // namespace postrider::campaign
