// One connection to NATS and the JetStream API by request: what every user of the broker shares.
//
// nats.c's own reconnect stays off: it would replay or lose publishes in flight behind our back. A
// broken connection is reported once, in the mailbox, and the object is then only good for
// destruction. Calls may throw Failure (kBrokerUnavailable, kNoPermission, kTooLarge). request()
// and what is built on it may be called from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/jetstream/mailbox.h"
#include "base/jetstream/nats_options.h"
#include "base/jetstream/stream_info.h"

typedef struct __natsConnection natsConnection;  // nats.c's; only adapters look inside
typedef struct __natsSubscription natsSubscription;

namespace postrider {

class NatsConnection {
 public:
  // Connects; at most `timeout`. What breaks later is put into `errors`.
  NatsConnection(const NatsOptions& options, const std::string& client_name,
                 std::chrono::milliseconds timeout, std::shared_ptr<ErrorBox> errors);
  ~NatsConnection();
  NatsConnection(const NatsConnection&) = delete;
  NatsConnection& operator=(const NatsConnection&) = delete;

  // ---- JetStream API, answered by the stream's leader, never by a replica that may lag ----
  // Nothing when there is no such stream.
  [[nodiscard]] std::optional<wire::StreamInfo> stream_info(const std::string& stream);
  // The newest sequence between the stream's first and last whose message is not there; 0: none is
  // missing. An answer of 7 bytes for each that is: ask only where stream_info counts too few.
  [[nodiscard]] std::uint64_t newest_missing(const std::string& stream);
  // The message at `seq`; nothing when it is not there (aged out, deleted, or beyond the end).
  [[nodiscard]] std::optional<wire::StoredMessage> message(const std::string& stream,
                                                           std::uint64_t seq);
  // Shows `visit` the messages `first` to `last`, both inclusive, in any order; those that are not
  // there are left out. Asked for several at a time: thousands take a fraction of a second. Holds a
  // few megabytes at most.
  void for_each_message(const std::string& stream, std::uint64_t first, std::uint64_t last,
                        const std::function<void(const wire::StoredMessage&)>& visit);
  // The first message at or after `seq` whose subject matches `filter`.
  [[nodiscard]] std::optional<wire::StoredMessage> message_from(const std::string& stream,
                                                                std::uint64_t seq,
                                                                const std::string& filter);
  // Sends a request and returns the answer's text.
  std::string request(const std::string& subject, const std::string& body);

  // ---- Core NATS ----
  // A publish that nobody acknowledges; leaves within a millisecond.
  void announce(const std::string& subject, std::string_view body);
  // A subject of our own, below the options' inbox_prefix.
  [[nodiscard]] std::string new_inbox() const;

  [[nodiscard]] std::size_t max_payload() const;
  [[nodiscard]] std::string server_id() const;
  // Of the server that we are connected to; it may be another than the configured one in a cluster.
  [[nodiscard]] std::string server_url() const;

 protected:
  [[nodiscard]] natsConnection* handle() const;
  // Takes a subscription of this connection over, until the connection is gone: nats.c before
  // 3.6.1 goes on using one that is destroyed while a message for it arrives.
  void keep(natsSubscription* subscription);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postrider
