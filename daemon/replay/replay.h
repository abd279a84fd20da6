// Publishes a range of a source's stream again, into a stream of its own. The source's stream is
// only read.
//
// The target's newest message says how far it has come: a replay that was killed goes on there when
// it is run again, and no message comes twice. Each publish expects the sequence before it; and the
// message that belongs at a sequence is the same for every run of one replay, so that one whose
// publishes arrive late does no harm.
//
// Not thread-safe. Throws Failure: kConfiguration and kStreamSettings before anything is published;
// kStreamBehind when the stream no longer holds what comes next.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/replay/copy.h"
#include "daemon/replay/range.h"
#include "relay/jetstream/client.h"
#include "relay/jetstream/publisher.h"

namespace postrider {

struct ReplayOptions {
  std::string from = "start";
  std::string until = "end";
  std::string filter;
  std::string to_stream;
  std::string prefix;  // empty: the target stream's name
  bool dry_run = false;
};

struct ReplayResult {
  bool complete = false;                       // false: asked to stop
  std::uint64_t taken = 0;                     // published by this run; when dry, what would be
  std::uint64_t bytes = 0;                     // when dry: of their payloads
  std::uint64_t there_already = 0;             // in the target when this run began
  std::optional<std::uint64_t> first_ordinal;  // of what was taken
  std::optional<std::uint64_t> last_ordinal;
  std::uint64_t voids = 0;  // ordinals within the range that the stream does not hold
};

class Replay {
 public:
  Replay(const RelayOptions& relay, const ReplayOptions& options);

  // Until all of the range that the stream held at the start is in the target, or `stop`. Rides out
  // a broker that is away for half a minute without progress, then throws what it says.
  ReplayResult run(const std::atomic<bool>& stop);

 private:
  void open(JetStreamClient& client);
  void read_target(JetStreamClient& client);
  void require_start(JetStreamClient& client) const;
  [[nodiscard]] std::uint64_t start_of(JetStreamClient& client) const;
  // One chunk of the source's stream; false at the end of the range.
  bool carry(JetStreamClient& client);
  bool take(wire::StoredMessage& message, JetStreamClient& client);
  void publish(wire::StoredMessage& message, const PositionHeader& place, JetStreamClient& client);
  void require_unbroken(JetStreamClient& client, const PositionHeader& header);
  void require_end(JetStreamClient& client) const;
  void await_answers();

  const RelayOptions& relay_;
  ReplayRange range_;
  ReplayIdentity identity_;
  StreamOptions target_;
  bool dry_run_;

  std::unique_ptr<Publisher> publisher_;  // of one try
  bool begun_ = false;
  // Of the source's stream.
  std::string incarnation_;
  std::uint64_t end_ = 0;  // last sequence when this began
  std::uint64_t next_ = 0;
  std::optional<PositionHeader> before_;  // the newest message read in this session
  std::uint64_t before_seq_ = 0;
  // Of the target.
  std::optional<PositionHeader> done_;  // its newest message when the session began
  std::uint64_t target_seq_ = 0;        // its last sequence
  std::uint64_t in_flight_ = 0;
  Message message_;
  ReplayResult result_;
};

}  // namespace postrider
