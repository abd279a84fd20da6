#include "relay/jetstream/client.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "relay/jetstream/mailbox.h"
#include "relay/jetstream/nats_library.h"

namespace postrider {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kRequestTimeoutMs = 2000;
constexpr std::int64_t kWriteDeadlineMs = 2000;

std::string stream_config(const StreamOptions& options, const std::string& subjects) {
  using std::chrono::nanoseconds;
  Json config = {{"name", options.name},
                 {"subjects", {subjects}},
                 {"retention", "limits"},
                 {"storage", "file"},
                 {"discard", "new"},
                 {"deny_delete", true},
                 {"deny_purge", true},
                 {"max_consumers", -1},
                 {"max_msgs", -1},
                 {"max_msgs_per_subject", -1},
                 {"max_bytes", options.max_bytes},
                 {"max_msg_size", -1},
                 {"max_age", nanoseconds(options.max_age).count()},
                 {"duplicate_window", nanoseconds(options.duplicate_window).count()},
                 {"num_replicas", options.replicas},
                 {"allow_direct", true}};
  return config.dump();
}

void on_answer(natsConnection*, natsSubscription*, natsMsg* message, void* key) {
  const Owned<natsMsg> owned(message);
  const auto mailbox = Mailbox::find(key);
  if (!mailbox) return;
  wire::PubAck ack;
  if (natsMsg_IsNoResponders(message)) {
    ack.outcome = wire::PubAck::Outcome::kNoResponder;
  } else {
    ack = wire::parse_pub_ack(
        {natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))});
  }
  mailbox->put(std::move(ack));
}

void on_closed(natsConnection* connection, void* key) {
  const auto mailbox = Mailbox::find(key);
  if (!mailbox) return;
  const char* why = nullptr;
  natsConnection_GetLastError(connection, &why);
  mailbox->put(Error{ErrorKind::kBrokerUnavailable,
                     std::string("the connection to NATS ended: ") +
                         (why == nullptr || *why == '\0' ? "closed" : why),
                     ""});
}

void on_error(natsConnection* connection, natsSubscription*, natsStatus status, void* key) {
  const auto mailbox = Mailbox::find(key);
  if (!mailbox) return;
  const char* why = nullptr;
  natsConnection_GetLastError(connection, &why);
  const ErrorKind kind = kind_of(status);
  mailbox->put(Error{
      kind, std::string("NATS reports: ") + (why == nullptr ? natsStatus_GetText(status) : why),
      remedy_of(kind)});
}

}  // namespace

struct JetStreamClient::Impl {
  // Sends a request and returns the answer's text.
  std::string request(const std::string& subject, const std::string& body) {
    natsMsg* raw = nullptr;
    const natsStatus status = natsConnection_RequestString(&raw, connection.get(), subject.c_str(),
                                                           body.c_str(), kRequestTimeoutMs);
    const Owned<natsMsg> reply(raw);
    if (status == NATS_NO_RESPONDERS)
      throw Failure(ErrorKind::kBrokerUnavailable, "JetStream does not answer on " + subject);
    if (status == NATS_TIMEOUT) throw_reported(subject);
    check(status, subject);
    return {natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw))};
  }
  // A request for which the user lacks the right is never answered: the error comes beside it.
  [[noreturn]] void throw_reported(const std::string& subject) {
    if (const auto error = mailbox->error()) throw Failure(*error);
    throw Failure(ErrorKind::kBrokerUnavailable, "no answer on " + subject + " in time");
  }

  // Answered by the stream's leader, never by a replica that may lag (direct get).
  std::optional<wire::StoredMessage> stored_message(const std::string& stream, const Json& which) {
    const std::string answer = request("$JS.API.STREAM.MSG.GET." + stream, which.dump());
    if (const auto error = wire::find_api_error(answer)) {
      if (error->err_code == wire::kErrMessageNotFound) return std::nullopt;
      throw Failure(ErrorKind::kBrokerUnavailable, "STREAM.MSG.GET: " + error->description);
    }
    return value_or_throw(wire::parse_stored_message(answer));
  }

  std::shared_ptr<Mailbox> mailbox = Mailbox::open();
  std::string reply_subject;
  Owned<natsConnection> connection;
  Owned<natsSubscription> subscription;
};

JetStreamClient::JetStreamClient(const NatsOptions& options, const std::string& client_name,
                                 std::chrono::milliseconds timeout)
    : impl_(std::make_unique<Impl>()) {
  natsOptions* raw = nullptr;
  check(natsOptions_Create(&raw), "NATS options");
  const Owned<natsOptions> nats(raw);
  check(natsOptions_SetURL(raw, options.url.c_str()), "nats.url");
  check(natsOptions_SetName(raw, client_name.c_str()), "client name");
  check(natsOptions_SetTimeout(raw, timeout.count()), "timeout");
  check(natsOptions_SetAllowReconnect(raw, false), "reconnect");
  check(natsOptions_SetWriteDeadline(raw, kWriteDeadlineMs), "write deadline");
  check(natsOptions_SetPingInterval(raw, 5000), "ping interval");
  check(natsOptions_SetMaxPingsOut(raw, 2), "pings");
  check(natsOptions_SetCustomInboxPrefix(raw, options.inbox_prefix.c_str()), "nats.inbox_prefix");
  check(natsOptions_SetClosedCB(raw, &on_closed, impl_->mailbox->key()), "callback");
  check(natsOptions_SetErrorHandler(raw, &on_error, impl_->mailbox->key()), "callback");
  configure_authentication(raw, options);
  configure_tls(raw, options);

  natsConnection* connection = nullptr;
  check(natsConnection_Connect(&connection, raw), "cannot connect to " + options.url);
  impl_->connection.reset(connection);

  natsInbox* inbox = nullptr;
  check(natsInbox_Create(&inbox), "inbox");
  // natsInbox_Create knows nothing of the connection's prefix: only its unique part is taken.
  const std::string unique = std::string(inbox);
  natsInbox_Destroy(inbox);
  impl_->reply_subject = options.inbox_prefix + unique.substr(unique.find('.'));
  natsSubscription* subscription = nullptr;
  check(natsConnection_Subscribe(&subscription, connection, impl_->reply_subject.c_str(),
                                 &on_answer, impl_->mailbox->key()),
        "subscribe to " + impl_->reply_subject);
  impl_->subscription.reset(subscription);
  check(natsSubscription_SetPendingLimits(subscription, -1, -1), "pending limits");
}

JetStreamClient::~JetStreamClient() = default;

std::optional<wire::StreamInfo> JetStreamClient::stream_info(const std::string& stream) {
  const std::string answer = impl_->request("$JS.API.STREAM.INFO." + stream, "");
  if (const auto error = wire::find_api_error(answer)) {
    if (error->err_code == wire::kErrStreamNotFound) return std::nullopt;
    throw Failure(ErrorKind::kBrokerUnavailable, "STREAM.INFO: " + error->description);
  }
  return value_or_throw(wire::parse_stream_info(answer));
}

wire::StreamInfo JetStreamClient::create_stream(const StreamOptions& options,
                                                const std::string& subjects) {
  const std::string answer =
      impl_->request("$JS.API.STREAM.CREATE." + options.name, stream_config(options, subjects));
  if (const auto error = wire::find_api_error(answer)) {
    // 4xx: the request itself is refused (subjects overlap, no room for max_bytes, too few
    // servers).
    const bool refused = error->code >= 400 && error->code < 500;
    throw Failure(
        refused ? ErrorKind::kStreamSettings : ErrorKind::kBrokerUnavailable,
        "cannot create stream \"" + options.name + "\" for " + subjects + ": " + error->description,
        refused ? "change [stream] in the configuration, or create the stream yourself" : "");
  }
  return value_or_throw(wire::parse_stream_info(answer));
}

std::optional<wire::StoredMessage> JetStreamClient::message(const std::string& stream,
                                                            std::uint64_t seq) {
  return impl_->stored_message(stream, Json{{"seq", seq}});
}

std::optional<wire::StoredMessage> JetStreamClient::message_from(const std::string& stream,
                                                                 std::uint64_t seq,
                                                                 const std::string& filter) {
  return impl_->stored_message(stream, Json{{"seq", seq}, {"next_by_subj", filter}});
}

void JetStreamClient::publish(const Message& message, const std::string& stream,
                              std::uint64_t expected_last) {
  natsMsg* raw = nullptr;
  check(natsMsg_Create(&raw, message.subject.c_str(), impl_->reply_subject.c_str(),
                       message.payload.data(), static_cast<int>(message.payload.size())),
        "message");
  const Owned<natsMsg> owned(raw);
  for (const auto& [name, value] : message.headers)
    check(natsMsgHeader_Set(raw, name.c_str(), value.c_str()), "header " + name);
  check(natsMsgHeader_Set(raw, "Nats-Expected-Stream", stream.c_str()), "header");
  check(
      natsMsgHeader_Set(raw, "Nats-Expected-Last-Sequence", std::to_string(expected_last).c_str()),
      "header");
  check(natsConnection_PublishMsg(impl_->connection.get(), raw), "publish to " + message.subject);
}

int JetStreamClient::answers_fd() const {
  return impl_->mailbox->fd();
}

void JetStreamClient::take_answers(std::vector<wire::PubAck>& answers) {
  impl_->mailbox->take(answers);
}

std::size_t JetStreamClient::max_payload() const {
  return static_cast<std::size_t>(natsConnection_GetMaxPayload(impl_->connection.get()));
}

std::string JetStreamClient::server_id() const {
  char id[128] = "";
  natsConnection_GetConnectedServerId(impl_->connection.get(), id, sizeof id);
  return id;
}

}  // namespace postrider
