#include "base/jetstream/connection.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>
#include <vector>

#include "base/jetstream/nats_library.h"

namespace postrider {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kRequestTimeoutMs = 2000;
constexpr std::int64_t kWriteDeadlineMs = 2000;
constexpr std::uint64_t kRequestsAtOnce = 200;  // servers drop API requests that pile up
constexpr std::uint64_t kBytesAtOnce = 16UL * 1024 * 1024;

void on_closed(natsConnection* connection, void* key) {
  const auto errors = ErrorBox::find(key);
  if (!errors) return;
  const char* why = nullptr;
  natsConnection_GetLastError(connection, &why);
  errors->put(Error{ErrorKind::kBrokerUnavailable,
                    std::string("the connection to NATS ended: ") +
                        (why == nullptr || *why == '\0' ? "closed" : why),
                    ""});
}

void on_error(natsConnection* connection, natsSubscription*, natsStatus status, void* key) {
  const auto errors = ErrorBox::find(key);
  if (!errors) return;
  const char* why = nullptr;
  natsConnection_GetLastError(connection, &why);
  // Not while connecting: who is no longer known here may be, with what the files hold by now.
  const ErrorKind kind =
      status == NATS_CONNECTION_AUTH_FAILED ? ErrorKind::kBrokerUnavailable : kind_of(status);
  errors->put(Error{
      kind, std::string("NATS reports: ") + (why == nullptr ? natsStatus_GetText(status) : why),
      remedy_of(kind)});
}

// Several servers stand between commas; they are tried in random order until one answers.
void set_servers(natsOptions* options, const std::string& urls) {
  std::vector<std::string> each;
  std::istringstream text(urls);
  for (std::string url; std::getline(text, url, ',');) {
    url.erase(0, url.find_first_not_of(' '));
    url.erase(url.find_last_not_of(' ') + 1);
    if (!url.empty()) each.push_back(url);
  }
  std::vector<const char*> servers;
  for (const auto& url : each) servers.push_back(url.c_str());
  check(natsOptions_SetServers(options, servers.data(), static_cast<int>(servers.size())),
        "nats.url");
}

// For messages: without user and password.
std::string without_identity(const std::string& urls) {
  std::istringstream text(urls);
  std::string all;
  for (std::string url; std::getline(text, url, ',');) {
    const auto scheme = url.find("://");
    const auto begin = scheme == std::string::npos ? 0 : scheme + 3;
    if (const auto at = url.rfind('@'); at != std::string::npos && at >= begin)
      url.erase(begin, at + 1 - begin);
    all += (all.empty() ? "" : ",") + url;
  }
  return all;
}

}  // namespace

struct NatsConnection::Impl {
  // A request for which the user lacks the right is never answered: the error comes beside it.
  [[noreturn]] void throw_reported(const std::string& subject) const {
    if (const auto error = errors->error()) throw Failure(*error);
    throw Failure(ErrorKind::kBrokerUnavailable, "no answer on " + subject + " in time");
  }

  // What arrives for a subscription until here finds it: closing waits for the thread that reads.
  ~Impl() {
    if (connection) natsConnection_Close(connection.get());
  }

  std::shared_ptr<ErrorBox> errors;
  std::string inbox_prefix;
  Owned<natsConnection> connection;
  std::vector<Owned<natsSubscription>> subscriptions;
  // Of for_each_message: one for all its calls, each with an inbox of its own below this.
  std::string answers_inbox;
  natsSubscription* answers = nullptr;
  std::uint64_t calls = 0;
};

NatsConnection::NatsConnection(const NatsOptions& options, const std::string& client_name,
                               std::chrono::milliseconds timeout, std::shared_ptr<ErrorBox> errors)
    : impl_(std::make_unique<Impl>()) {
  impl_->errors = std::move(errors);
  impl_->inbox_prefix = options.inbox_prefix;
  natsOptions* raw = nullptr;
  check(natsOptions_Create(&raw), "NATS options");
  const Owned<natsOptions> nats(raw);
  set_servers(raw, options.url);
  check(natsOptions_SetName(raw, client_name.c_str()), "client name");
  check(natsOptions_SetTimeout(raw, timeout.count()), "timeout");
  check(natsOptions_SetAllowReconnect(raw, false), "reconnect");
  check(natsOptions_SetWriteDeadline(raw, kWriteDeadlineMs), "write deadline");
  check(natsOptions_SetPingInterval(raw, 5000), "ping interval");
  check(natsOptions_SetMaxPingsOut(raw, 2), "pings");
  check(natsOptions_SetCustomInboxPrefix(raw, options.inbox_prefix.c_str()), "nats.inbox_prefix");
  check(natsOptions_SetClosedCB(raw, &on_closed, impl_->errors->key()), "callback");
  check(natsOptions_SetErrorHandler(raw, &on_error, impl_->errors->key()), "callback");
  configure_authentication(raw, options);
  configure_tls(raw, options);

  natsConnection* connection = nullptr;
  check(natsConnection_Connect(&connection, raw),
        "cannot connect to " + without_identity(options.url));
  impl_->connection.reset(connection);
}

NatsConnection::~NatsConnection() = default;

std::string NatsConnection::request(const std::string& subject, const std::string& body) {
  natsMsg* raw = nullptr;
  const natsStatus status = natsConnection_RequestString(&raw, handle(), subject.c_str(),
                                                         body.c_str(), kRequestTimeoutMs);
  const Owned<natsMsg> reply(raw);
  if (status == NATS_NO_RESPONDERS)
    throw Failure(ErrorKind::kBrokerUnavailable, "JetStream does not answer on " + subject);
  if (status == NATS_TIMEOUT) impl_->throw_reported(subject);
  check(status, subject);
  return {natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw))};
}

std::optional<wire::StreamInfo> NatsConnection::stream_info(const std::string& stream) {
  const std::string answer = request("$JS.API.STREAM.INFO." + stream, "");
  if (const auto error = wire::find_api_error(answer)) {
    if (error->err_code == wire::kErrStreamNotFound) return std::nullopt;
    throw Failure(ErrorKind::kBrokerUnavailable, "STREAM.INFO: " + error->description);
  }
  return value_or_throw(wire::parse_stream_info(answer));
}

std::uint64_t NatsConnection::newest_missing(const std::string& stream) {
  const std::string answer =
      request("$JS.API.STREAM.INFO." + stream, Json{{"deleted_details", true}}.dump());
  if (const auto error = wire::find_api_error(answer))
    throw Failure(ErrorKind::kBrokerUnavailable, "STREAM.INFO: " + error->description);
  return value_or_throw(wire::parse_newest_missing(answer));
}

namespace {

std::optional<wire::StoredMessage> read_stored(const std::string& answer) {
  if (const auto error = wire::find_api_error(answer)) {
    if (error->err_code == wire::kErrMessageNotFound) return std::nullopt;
    throw Failure(ErrorKind::kBrokerUnavailable, "STREAM.MSG.GET: " + error->description);
  }
  return value_or_throw(wire::parse_stored_message(answer));
}

}  // namespace

std::optional<wire::StoredMessage> NatsConnection::message(const std::string& stream,
                                                           std::uint64_t seq) {
  return read_stored(request("$JS.API.STREAM.MSG.GET." + stream, Json{{"seq", seq}}.dump()));
}

void NatsConnection::for_each_message(
    const std::string& stream, std::uint64_t first, std::uint64_t last,
    const std::function<void(const wire::StoredMessage&)>& visit) {
  if (impl_->answers == nullptr) {
    impl_->answers_inbox = new_inbox();
    const std::string all = impl_->answers_inbox + ".*";
    natsSubscription* raw = nullptr;
    check(natsConnection_SubscribeSync(&raw, handle(), all.c_str()), "subscribe to " + all);
    keep(raw);
    impl_->answers = raw;
  }
  const std::string inbox = impl_->answers_inbox + "." + std::to_string(++impl_->calls);
  const std::string subject = "$JS.API.STREAM.MSG.GET." + stream;
  const std::uint64_t at_once =
      std::clamp<std::uint64_t>(kBytesAtOnce / max_payload(), 1, kRequestsAtOnce);
  std::uint64_t asked = first;
  for (std::uint64_t answered = first; answered <= last;) {
    for (; asked <= last && asked < answered + at_once; ++asked)
      check(natsConnection_PublishRequestString(handle(), subject.c_str(), inbox.c_str(),
                                                Json{{"seq", asked}}.dump().c_str()),
            subject);
    natsMsg* message = nullptr;
    const natsStatus status =
        natsSubscription_NextMsg(&message, impl_->answers, kRequestTimeoutMs);
    const Owned<natsMsg> answer(message);
    if (status == NATS_TIMEOUT) impl_->throw_reported(subject);
    check(status, subject);
    if (inbox != natsMsg_GetSubject(message)) continue;  // to an earlier call that gave up
    ++answered;
    if (natsMsg_IsNoResponders(message))
      throw Failure(ErrorKind::kBrokerUnavailable, "JetStream does not answer on " + subject);
    const auto stored = read_stored(
        {natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))});
    if (stored) visit(*stored);
  }
}

std::optional<wire::StoredMessage> NatsConnection::message_from(const std::string& stream,
                                                                std::uint64_t seq,
                                                                const std::string& filter) {
  return read_stored(request("$JS.API.STREAM.MSG.GET." + stream,
                             Json{{"seq", seq}, {"next_by_subj", filter}}.dump()));
}

void NatsConnection::announce(const std::string& subject, std::string_view body) {
  check(
      natsConnection_Publish(handle(), subject.c_str(), body.data(), static_cast<int>(body.size())),
      "publish to " + subject);
}

std::string NatsConnection::new_inbox() const {
  natsInbox* inbox = nullptr;
  check(natsInbox_Create(&inbox), "inbox");
  // natsInbox_Create knows nothing of the connection's prefix: only its unique part is taken.
  const std::string unique = std::string(inbox);
  natsInbox_Destroy(inbox);
  return impl_->inbox_prefix + unique.substr(unique.find('.'));
}

void NatsConnection::keep(natsSubscription* subscription) {
  impl_->subscriptions.emplace_back(subscription);
}

natsConnection* NatsConnection::handle() const {
  return impl_->connection.get();
}

std::size_t NatsConnection::max_payload() const {
  return static_cast<std::size_t>(natsConnection_GetMaxPayload(handle()));
}

std::string NatsConnection::server_url() const {
  char url[512] = "";
  natsConnection_GetConnectedUrl(handle(), url, sizeof url);
  return url;
}

std::string NatsConnection::server_id() const {
  char id[128] = "";
  natsConnection_GetConnectedServerId(handle(), id, sizeof id);
  return id;
}

}  // namespace postrider
