// The connection that events leave on. Publishes are pipelined: each names the stream and the
// sequence that must precede it, and its answer comes when it comes.
//
// Belongs to the thread that publishes, which waits on fd() and then takes the answers: nothing is
// handed to another. Throws Failure as nats::Link does.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/jetstream/nats_options.h"
#include "relay/route/encoder.h"
#include "relay/wire/pub_ack.h"

namespace postrider {

class Publisher {
 public:
  // Connects; each of the options' servers for at most `timeout`.
  Publisher(const NatsOptions& options, const std::string& client_name,
            std::chrono::milliseconds timeout);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  // From now on messages go in fast-ingest batches (relay/wire/fast_batch.h), which the stream must
  // allow; the broker is asked for an answer every `flow` messages.
  void use_batches(std::uint16_t flow);

  // Takes one message; flush() sends it. From then on we do not know whether the broker will store
  // it, until its answer arrives or the stream is read. `expected_last` is the fence.
  void publish(const Message& message, const std::string& stream, std::uint64_t expected_last);
  // Core NATS, beside the stream: nobody acknowledges it.
  void announce(std::string_view subject, std::string_view body);
  // Sends what the socket takes without waiting.
  void flush();
  // True when the socket did not take everything: publish no more until it has.
  [[nodiscard]] bool backed_up() const;

  // With batches, all false without: whether one is open; whether one has ended and the answer is
  // not here, until when nothing may be published; whether the open one will be answered in part.
  [[nodiscard]] bool in_batch() const;
  [[nodiscard]] bool awaits_batch() const;
  [[nodiscard]] bool answer_due() const;
  // Ends the open batch behind the newest message, so that the broker answers for all of it. To be
  // called when nothing follows at once; flush() sends it.
  void end_batch();

  // For poll(): readable when take_answers() has something, writable when flush() has.
  [[nodiscard]] int fd() const;
  // Puts the answers that have arrived into `answers`. Throws, once no answer is left, when the
  // connection broke or the broker reported an error that belongs to no answer, such as a
  // permission violation.
  void take_answers(std::vector<wire::PubAck>& answers);
  // For who has nothing else to wait for: sends, and takes the answers that come until `deadline`;
  // none when it has passed.
  void await_answers(std::vector<wire::PubAck>& answers,
                     std::chrono::steady_clock::time_point deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postrider
