// One connection to NATS, as the relay needs it: the JetStream API by request, and pipelined
// publishes whose answers arrive on a queue.
//
// nats.c's own reconnect stays off: it would replay or lose publishes in flight behind our back. A
// broken connection is reported once and the object is then only good for destruction. Calls may
// throw Failure (kBrokerUnavailable, kNoPermission, kTooLarge). publish() belongs to one thread;
// request() may be called from another. Answers are handed over by a thread of nats.c.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/error.h"
#include "relay/options.h"
#include "relay/route/encoder.h"
#include "relay/wire/pub_ack.h"
#include "relay/wire/stream_info.h"

namespace postrider {

class JetStreamClient {
 public:
  // Connects; at most `timeout`.
  JetStreamClient(const NatsOptions& options, const std::string& client_name,
                  std::chrono::milliseconds timeout);
  ~JetStreamClient();
  JetStreamClient(const JetStreamClient&) = delete;
  JetStreamClient& operator=(const JetStreamClient&) = delete;

  // ---- JetStream API, answered by the stream's leader ----
  [[nodiscard]] std::optional<wire::StreamInfo> stream_info(const std::string& stream);
  wire::StreamInfo create_stream(const StreamOptions& options, const std::string& subjects);
  // The message at `seq`; nothing when it is not there (aged out, deleted, or beyond the end).
  [[nodiscard]] std::optional<wire::StoredMessage> message(const std::string& stream,
                                                           std::uint64_t seq);

  // The first message at or after `seq` whose subject matches `filter`.
  [[nodiscard]] std::optional<wire::StoredMessage> message_from(const std::string& stream,
                                                                std::uint64_t seq,
                                                                const std::string& filter);

  // ---- Publishing ----
  // Hands one message to the connection's buffer. After this returns we do not know whether the
  // broker will store it, until its answer arrives or the stream is read. `expected_last` is the
  // fence.
  void publish(const Message& message, const std::string& stream, std::uint64_t expected_last);
  // Becomes readable (eventfd) when take_answers() has something, or the connection broke.
  [[nodiscard]] int answers_fd() const;
  // Moves the answers that have arrived into `answers`. Throws when the connection broke or the
  // broker reported an error that belongs to no answer, such as a permission violation.
  void take_answers(std::vector<wire::PubAck>& answers);

  [[nodiscard]] std::size_t max_payload() const;
  [[nodiscard]] std::string server_id() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postrider
