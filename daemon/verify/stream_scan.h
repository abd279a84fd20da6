// Reads the stream for verify: each message is held to the chain and spilled for the join. Not
// thread-safe. Throws Failure; kBrokerUnavailable also when a message that is there was not
// delivered: what cannot be read is not lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/coverage_notice.h"
#include "daemon/verify/spill.h"
#include "daemon/verify/stream_chain.h"
#include "daemon/verify/stream_join.h"
#include "readmodel/jetstream/stream_feed.h"
#include "relay/options.h"

namespace postrider {

inline constexpr std::size_t kPartitions = 128;

// By the id's first bits, which are random.
[[nodiscard]] inline std::size_t partition_of(const Digest& id) {
  return id.front() % kPartitions;
}

class StreamScan {
 public:
  StreamScan(const RelayOptions& options, StreamFindings& findings);

  // Before anything is read: which message of which stream the source's row names as durable. Up
  // to there the front may have left by an age, or a hand, that the stream's settings no longer
  // show; behind it the broker has lost what a stream that keeps its front lacks. (A repair judges
  // the front by itself.)
  void know_durable(std::string incarnation, std::uint64_t seq) {
    durable_incarnation_ = std::move(incarnation);
    durable_seq_ = seq;
  }

  // Shown every message as it is read; ordinal 0: not one of this source's relay.
  void observe(std::function<void(const ReceivedEvent&)> observer) {
    observer_ = std::move(observer);
  }
  // Reads on to what was the end of the stream when it was called, at least. False when there is no
  // stream.
  bool read_to_end();
  // Waits for something new, at most `longest`.
  void wait(std::chrono::milliseconds longest);
  // True once everything that committed before `place` is known to have been read.
  [[nodiscard]] bool has_passed(std::uint32_t timeline, Lsn place) const;

  // The commit time of the first message's transaction, when messages before it may be gone by age:
  // a transaction that began later cannot be among them.
  [[nodiscard]] std::optional<std::int64_t> horizon_us() const { return horizon_us_; }
  [[nodiscard]] const Spill<StoredEvent>& events() const { return events_; }
  [[nodiscard]] std::uint64_t messages() const { return messages_; }
  // Of those, messages of captured tables.
  [[nodiscard]] std::uint64_t row_changes() const { return row_changes_; }
  [[nodiscard]] std::uint64_t first_ordinal() const { return first_ordinal_; }
  [[nodiscard]] const std::optional<PositionHeader>& last() const { return chain_.last(); }

 private:
  void open();
  [[nodiscard]] bool lost_front(const wire::StreamInfo& stream) const;
  void take_arrived();
  void take(const ReceivedEvent& event);
  void excuse_gap(const ReceivedEvent& event);
  [[nodiscard]] bool is_at_end();

  const RelayOptions& options_;
  StreamFindings& findings_;
  StreamFeed feed_;
  StreamChain chain_;
  Spill<StoredEvent> events_{kPartitions};
  std::function<void(const ReceivedEvent&)> observer_;
  bool open_ = false;
  std::uint64_t seq_ = 0;  // of the newest message read
  std::uint64_t messages_ = 0;
  std::uint64_t row_changes_ = 0;
  std::uint64_t first_ordinal_ = 0;
  std::optional<std::int64_t> horizon_us_;
  std::string durable_incarnation_;
  std::uint64_t durable_seq_ = 0;
  bool keeps_front_ = false;              // nothing ages out, or is purged, while it is read
  bool lost_front_ = false;               // nor was it before
  std::optional<CoverageNotice> notice_;  // the newest one
  std::vector<ReceivedEvent> arrived_;
  std::vector<std::string> notices_;
};

}  // namespace postrider
