#include "relay/jetstream/client.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/jetstream/nats_library.h"

namespace postrider {
namespace {

using Json = nlohmann::json;

std::string stream_config(const StreamOptions& options, const std::string& subjects) {
  using std::chrono::nanoseconds;
  Json config = {{"name", options.name},
                 {"subjects", {subjects}},
                 {"retention", "limits"},
                 {"storage", "file"},
                 {"discard", "new"},
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
  const auto answers = Mailbox<wire::PubAck>::find(key);
  if (!answers) return;
  wire::PubAck ack;
  if (natsMsg_IsNoResponders(message)) {
    ack.outcome = wire::PubAck::Outcome::kNoResponder;
  } else {
    ack = wire::parse_pub_ack(
        {natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))});
  }
  answers->put(std::move(ack));
}

}  // namespace

JetStreamClient::JetStreamClient(const NatsOptions& options, const std::string& client_name,
                                 std::chrono::milliseconds timeout)
    : JetStreamClient(options, client_name, timeout, Mailbox<wire::PubAck>::open()) {}

JetStreamClient::JetStreamClient(const NatsOptions& options, const std::string& client_name,
                                 std::chrono::milliseconds timeout, Answers answers)
    : NatsConnection(options, client_name, timeout, answers),
      answers_(std::move(answers)),
      reply_subject_(new_inbox()) {
  natsSubscription* subscription = nullptr;
  check(natsConnection_Subscribe(&subscription, handle(), reply_subject_.c_str(), &on_answer,
                                 answers_->key()),
        "subscribe to " + reply_subject_);
  keep(subscription);
  check(natsSubscription_SetPendingLimits(subscription, -1, -1), "pending limits");
}

JetStreamClient::~JetStreamClient() = default;

wire::StreamInfo JetStreamClient::create_stream(const StreamOptions& options,
                                                const std::string& subjects) {
  const std::string answer =
      request("$JS.API.STREAM.CREATE." + options.name, stream_config(options, subjects));
  if (const auto error = wire::find_api_error(answer)) {
    // 4xx: the request itself is refused (subjects overlap, no room for max_bytes). A cluster whose
    // servers are not all up yet has too few of them only for the moment.
    const bool refused =
        error->code >= 400 && error->code < 500 && error->err_code != wire::kErrNoPeers;
    throw Failure(
        refused ? ErrorKind::kStreamSettings : ErrorKind::kBrokerUnavailable,
        "cannot create stream \"" + options.name + "\" for " + subjects + ": " + error->description,
        refused ? "change [stream] in the configuration, or create the stream yourself" : "");
  }
  return value_or_throw(wire::parse_stream_info(answer));
}

void JetStreamClient::publish(const Message& message, const std::string& stream,
                              std::uint64_t expected_last) {
  natsMsg* raw = nullptr;
  check(natsMsg_Create(&raw, message.subject.c_str(), reply_subject_.c_str(),
                       message.payload.data(), static_cast<int>(message.payload.size())),
        "message");
  const Owned<natsMsg> owned(raw);
  for (const auto& [name, value] : message.headers)
    check(natsMsgHeader_Set(raw, name.c_str(), value.c_str()), "header " + name);
  check(natsMsgHeader_Set(raw, "Nats-Expected-Stream", stream.c_str()), "header");
  check(
      natsMsgHeader_Set(raw, "Nats-Expected-Last-Sequence", std::to_string(expected_last).c_str()),
      "header");
  check(natsConnection_PublishMsg(handle(), raw), "publish to " + message.subject);
}

}  // namespace postrider
