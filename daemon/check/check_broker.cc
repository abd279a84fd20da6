#include "daemon/check/check_broker.h"

#include <optional>
#include <string>

#include "base/coverage_notice.h"
#include "base/jetstream/server_version.h"
#include "relay/route/parts.h"
#include "relay/session_start.h"

namespace postrider {
namespace {

constexpr milliseconds kTimeout{2000};
const ServerVersion kOldestServer{2, 9, 0, ""};
const ServerVersion kNewestServer{999, 0, 0, ""};

std::optional<ServerVersion> check_version(const JetStreamClient& client,
                                           std::vector<CheckLine>& lines) {
  const auto version = read_server_version(client.server_url(), kTimeout);
  const std::string subject = "nats-server version";
  if (!version)
    lines.push_back({CheckLevel::kWarn, subject,
                     "cannot be read: the server does not greet before the TLS handshake",
                     "see for yourself that it is 2.9 or newer"});
  else if (!version->between(kOldestServer, kNewestServer))
    lines.push_back({CheckLevel::kFail, subject, version->text, "2.9 or newer is needed"});
  else
    lines.push_back({CheckLevel::kOk, subject, version->text, ""});
  return version;
}

std::optional<wire::StreamInfo> check_stream(const RelayOptions& options, JetStreamClient& client,
                                             std::vector<CheckLine>& lines) {
  auto stream = client.stream_info(options.stream.name);
  const std::string subject = "stream " + options.stream.name;
  if (!stream) {
    lines.push_back(
        {options.stream.create ? CheckLevel::kOk : CheckLevel::kFail, subject,
         options.stream.create ? "does not exist; the relay will create it" : "does not exist",
         options.stream.create ? "" : "create it, or set stream.create = true", true});
    return stream;
  }
  const auto problems = wire::review_settings(*stream, stream_subjects(options));
  for (const auto& problem : problems)
    lines.push_back({problem.fatal ? CheckLevel::kFail : CheckLevel::kWarn, subject,
                     problem.setting + " " + problem.what, problem.remedy, problem.fatal});
  if (problems.empty())
    lines.push_back({CheckLevel::kOk, subject,
                     std::to_string(stream->messages) + " messages, last sequence " +
                         std::to_string(stream->last_seq) + ", replicas " +
                         std::to_string(stream->replicas),
                     ""});
  return stream;
}

// Whether a JetStream request is answered at all, whatever the answer says. On a connection of its
// own: a refusal breaks it for everything after.
void check_request(const RelayOptions& options, const std::string& subject, const std::string& body,
                   CheckLevel refused, std::vector<CheckLine>& lines) {
  try {
    (void)connect_client(options)->request(subject, body);
    lines.push_back({CheckLevel::kOk, "NATS permissions", "may ask " + subject, ""});
  } catch (const Failure& failure) {
    const auto& error = failure.error();
    const bool silent = info(error.kind).disposition == Disposition::kRetry;
    lines.push_back({silent ? CheckLevel::kUnknown : refused, "NATS permissions", error.context,
                     silent ? "JetStream gives no answer: a cluster may lack a leader"
                            : "allow the relay's user to publish on " + subject +
                                  " (docs/operating.md, \"NATS permissions\")",
                     true, silent});
  }
}

void check_requests(const RelayOptions& options, bool stream_exists,
                    std::vector<CheckLine>& lines) {
  check_request(options, "$JS.API.STREAM.MSG.GET." + options.stream.name, R"({"seq":1})",
                CheckLevel::kFail, lines);
  if (!options.stream.create) return;
  // Names another stream in its body than in its subject, and so is refused in any case.
  check_request(options, "$JS.API.STREAM.CREATE." + options.stream.name,
                R"({"name":"postrider-no-such-stream"})",
                stream_exists ? CheckLevel::kWarn : CheckLevel::kFail, lines);
}

std::string probe_subject(const RelayOptions& options) {
  return options.source.name + ".postrider.check";
}

// Names a stream that cannot be the right one, so that JetStream refuses it in any case.
void publish_probe(const RelayOptions& options, Publisher& publisher) {
  Message probe;
  probe.subject = probe_subject(options);
  publisher.publish(probe, options.stream.name + "-no-such-stream", 0);
}

// Whether we may publish on the source's subjects: where the right is missing, the server says so
// instead of answering.
bool check_publish(const RelayOptions& options, Publisher& publisher,
                   std::vector<CheckLine>& lines) {
  const std::string subject = probe_subject(options);
  publish_probe(options, publisher);
  std::vector<wire::PubAck> answers;
  try {
    publisher.await_answers(answers, std::chrono::steady_clock::now() + kTimeout);
  } catch (const Failure& failure) {
    lines.push_back({CheckLevel::kFail, "NATS permissions", failure.error().context,
                     "allow the relay's user to publish on " + stream_subjects(options) +
                         " (docs/operating.md, \"NATS permissions\")",
                     true});
    return false;
  }
  const bool answered = !answers.empty();
  if (answered)
    lines.push_back({CheckLevel::kOk, "NATS permissions", "may publish on " + subject, ""});
  else
    lines.push_back({CheckLevel::kUnknown, "NATS permissions",
                     "no answer to a publish on " + subject + " within " +
                         std::to_string(kTimeout.count()) + " ms",
                     "the stream may lack a leader, or be overloaded: try again", true, true});
  return answered;
}

// Nobody answers a notice, so the right to publish one shows by the server's silence: its complaint
// comes before its answer to what was published next. Readers ignore what is no notice.
void check_announce(const RelayOptions& options, Publisher& publisher,
                    std::vector<CheckLine>& lines) {
  const std::string subject = coverage_subject(options.source.name);
  std::vector<wire::PubAck> answers;
  try {
    publisher.announce(subject, "check");
    publish_probe(options, publisher);
    publisher.await_answers(answers, std::chrono::steady_clock::now() + kTimeout);
  } catch (const Failure& failure) {
    lines.push_back({CheckLevel::kFail, "relay.announce", failure.error().context,
                     "allow the relay's user to publish on " + subject +
                         " (docs/operating.md, \"NATS permissions\"), or set relay.announce = "
                         "false: then nobody can wait for a token",
                     true});
    return;
  }
  if (answers.empty())
    lines.push_back({CheckLevel::kUnknown, "relay.announce",
                     "no answer to what was published behind a notice within " +
                         std::to_string(kTimeout.count()) + " ms",
                     "the stream may lack a leader, or be overloaded: try again", true, true});
  else
    lines.push_back({CheckLevel::kOk, "relay.announce", "may publish on " + subject, ""});
}

// The stream's own limit counts headers, too, and so does the outbox's.
void check_message_size(const RelayOptions& options, const OutboxLimits& limits,
                        JetStreamClient& client, std::vector<CheckLine>& lines) {
  const auto stream = client.stream_info(options.stream.name);
  if (!stream || stream->max_msg_size < 0 || !limits.max_payload_bytes ||
      stream->max_msg_size >= *limits.max_payload_bytes)
    return;
  lines.push_back({CheckLevel::kFail, "max_msg_size",
                   "stream " + std::to_string(stream->max_msg_size) + ", outbox limit " +
                       std::to_string(*limits.max_payload_bytes),
                   "emit would accept events that the stream refuses: set the stream's "
                   "max_msg_size to -1, or UPDATE outbox.settings SET max_payload_bytes = " +
                       std::to_string(stream->max_msg_size)});
}

// The relay would not begin a session.
void check_parts(const RelayOptions& options, JetStreamClient& client,
                 std::vector<CheckLine>& lines) {
  if (options.captures.empty()) return;
  auto fits =
      require_room_for_parts(options.part_bytes, client.max_payload(), "the broker's max_payload");
  const auto stream = client.stream_info(options.stream.name);
  if (fits && stream && stream->max_msg_size >= 0)
    fits =
        require_room_for_parts(options.part_bytes, static_cast<std::size_t>(stream->max_msg_size),
                               "the stream's max_msg_size");
  lines.push_back({fits ? CheckLevel::kOk : CheckLevel::kFail, "relay.part_bytes",
                   fits
                       ? "a part of a large row is " + std::to_string(options.part_bytes) + " bytes"
                       : fits.error().context,
                   fits ? "" : fits.error().remedy});
}

void check_payload(const OutboxLimits& limits, JetStreamClient& client,
                   std::vector<CheckLine>& lines) {
  const auto broker = static_cast<std::int64_t>(client.max_payload());
  if (!limits.max_payload_bytes) return;
  const bool fits = *limits.max_payload_bytes <= broker;
  lines.push_back({fits ? CheckLevel::kOk : CheckLevel::kFail, "max_payload",
                   "broker " + std::to_string(broker) + ", outbox limit " +
                       std::to_string(*limits.max_payload_bytes),
                   fits ? ""
                        : "emit would accept events that the broker refuses: raise the broker's "
                          "max_payload, or UPDATE outbox.settings SET max_payload_bytes = " +
                              std::to_string(broker)});
}

void check_durability(const RelayOptions& options, std::vector<CheckLine>& lines) {
  if (options.confirm == ConfirmMode::kAcked) {
    lines.push_back(
        {CheckLevel::kWarn, "confirm", "acked: an acknowledgement counts as durable",
         "only right where the broker runs with sync_interval: always (2.10 or newer)"});
    return;
  }
  lines.push_back({CheckLevel::kOk, "broker_sync_interval",
                   "stated as " + std::to_string(options.broker_sync_interval.count() / 1000) +
                       " s: PostgreSQL keeps WAL that long and " +
                       std::to_string(options.confirm_margin.count() / 1000) + " s more",
                   ""});
}

void check_false_duplicates(const RelayOptions& options,
                            const std::optional<ServerVersion>& version,
                            const std::optional<wire::StreamInfo>& stream,
                            std::vector<CheckLine>& lines) {
  constexpr int kCluster = 3;
  const int replicas = stream ? stream->replicas : options.stream.replicas;
  const ServerVersion first{2, 10, 14, ""};
  const ServerVersion last{2, 10, 29, ""};
  if (!options.message_id || replicas < kCluster || !version || !version->between(first, last))
    return;
  lines.push_back({CheckLevel::kWarn, "relay.message_id",
                   "on, and a leader change of nats-server " + version->text +
                       " answers false duplicates: a stall, no loss",
                   "set relay.message_id = false, or run 2.10.30 or newer"});
}

// Whether the broker answers for many events at once, where it can.
void check_fast_ingest(const RelayOptions& options, const std::optional<ServerVersion>& version,
                       const std::optional<wire::StreamInfo>& stream,
                       std::vector<CheckLine>& lines) {
  if (!options.stream.fast_ingest || !version || !version->has_fast_ingest()) return;
  std::string what = "events go in fast-ingest batches";
  if (options.message_id)
    what = "not used: relay.message_id is on";
  else if (stream && !stream->fast_ingest)
    what = "not used: the stream does not allow batches (allow_batched)";
  lines.push_back({CheckLevel::kOk, "stream.fast_ingest", what, ""});
}

}  // namespace

void check_broker(const RelayOptions& options, const OutboxLimits& limits,
                  std::vector<CheckLine>& lines) {
  try {
    const auto client = connect_client(options);
    lines.push_back({CheckLevel::kOk, "NATS", "connected to server " + client->server_id(), ""});
    const auto version = check_version(*client, lines);
    const auto stream = check_stream(options, *client, lines);
    // A stream without acknowledgements answers nothing; its setting is refused anyway.
    const bool answers = !stream || !stream->no_ack;
    const auto publisher = connect_publisher(options);
    const bool may_publish = answers && check_publish(options, *publisher, lines);
    check_payload(limits, *client, lines);
    check_parts(options, *client, lines);
    check_message_size(options, limits, *client, lines);
    check_false_duplicates(options, version, stream, lines);
    check_fast_ingest(options, version, stream, lines);
    check_requests(options, stream.has_value(), lines);
    // Last: a refusal breaks the connection for everything after it.
    if (may_publish && options.announce) check_announce(options, *publisher, lines);
  } catch (const Failure& failure) {
    lines.push_back({CheckLevel::kUnknown, "NATS", failure.error().context,
                     failure.error().remedy.empty()
                         ? "start nats-server with JetStream, or correct nats.url"
                         : failure.error().remedy,
                     true, info(failure.error().kind).disposition == Disposition::kRetry});
  }
  check_durability(options, lines);
}

}  // namespace postrider
