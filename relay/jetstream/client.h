// What the relay asks of JetStream beside publishing (publisher.h): it makes the stream, reads it,
// and is told when the broker is gone.
//
// Thread-safe, and errors, as NatsConnection has them.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <variant>

#include "base/jetstream/connection.h"
#include "relay/options.h"

namespace postrider {

class JetStreamClient : public NatsConnection {
 public:
  // Connects; at most `timeout`.
  JetStreamClient(const NatsOptions& options, const std::string& client_name,
                  std::chrono::milliseconds timeout);
  ~JetStreamClient();

  wire::StreamInfo create_stream(const StreamOptions& options, const std::string& subjects);

  // Becomes readable (eventfd) when throw_if_broken() would throw.
  [[nodiscard]] int errors_fd() const { return errors_->fd(); }
  // Throws when the connection broke or the broker reported an error that belongs to no answer.
  void throw_if_broken() const {
    if (auto error = errors_->error()) throw Failure(*std::move(error));
  }

 private:
  using Errors = std::shared_ptr<Mailbox<std::monostate>>;
  JetStreamClient(const NatsOptions& options, const std::string& client_name,
                  std::chrono::milliseconds timeout, Errors errors);

  Errors errors_;
};

}  // namespace postrider
