// Reads a stream message by message, as a person watches it. Uses STREAM.MSG.GET alone: no consumer
// is left behind on the server, and the relay's permissions are enough.
#pragma once

#include <cstdint>
#include <optional>

#include "postrider/position.h"
#include "relay/jetstream/client.h"

namespace postrider {

class StreamReader {
 public:
  StreamReader(JetStreamClient& client, const RelayOptions& options)
      : client_(client), stream_(options.stream.name), filter_(options.source.name + ".>") {}

  // Where to begin; each throws kStreamSettings when there is no stream.
  void from_start();
  void from_now();
  // At the first message whose position is at or after `position`: found by bisection, since
  // positions increase with the sequence.
  void from_position(const Position& position);

  // Looks whether the stream is another one than when reading began. If so, begins at its start and
  // returns true.
  [[nodiscard]] bool restart_if_made_anew();
  // The next message, or nothing when there is none yet, or no stream at the moment.
  [[nodiscard]] std::optional<wire::StoredMessage> next();
  // The stream's last sequence when reading began.
  [[nodiscard]] std::uint64_t end_at_start() const { return end_; }
  [[nodiscard]] std::uint64_t next_seq() const { return next_; }

 private:
  wire::StreamInfo require_stream();

  JetStreamClient& client_;
  std::string stream_;
  std::string filter_;
  std::uint64_t next_ = 1;
  std::uint64_t end_ = 0;
  std::string incarnation_;
};

}  // namespace postrider
