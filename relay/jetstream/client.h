// The relay's connection to NATS: it makes the stream, and pipelines publishes whose answers arrive
// on a queue.
//
// publish() belongs to one thread. Answers are handed over by a thread of nats.c. Errors as
// NatsConnection has them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/jetstream/connection.h"
#include "relay/options.h"
#include "relay/route/encoder.h"
#include "relay/wire/pub_ack.h"

namespace postrider {

class JetStreamClient : public NatsConnection {
 public:
  // Connects; at most `timeout`.
  JetStreamClient(const NatsOptions& options, const std::string& client_name,
                  std::chrono::milliseconds timeout);
  ~JetStreamClient();

  wire::StreamInfo create_stream(const StreamOptions& options, const std::string& subjects);

  // Hands one message to the connection's buffer. After this returns we do not know whether the
  // broker will store it, until its answer arrives or the stream is read. `expected_last` is the
  // fence.
  void publish(const Message& message, const std::string& stream, std::uint64_t expected_last);
  // Becomes readable (eventfd) when take_answers() has something, or the connection broke.
  [[nodiscard]] int answers_fd() const { return answers_->fd(); }
  // Moves the answers that have arrived into `answers`. Throws when the connection broke or the
  // broker reported an error that belongs to no answer, such as a permission violation.
  void take_answers(std::vector<wire::PubAck>& answers) { answers_->take(answers); }

 private:
  using Answers = std::shared_ptr<Mailbox<wire::PubAck>>;
  JetStreamClient(const NatsOptions& options, const std::string& client_name,
                  std::chrono::milliseconds timeout, Answers answers);

  Answers answers_;
  std::string reply_subject_;
};

}  // namespace postrider
