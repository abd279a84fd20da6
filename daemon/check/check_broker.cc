#include "daemon/check/check_broker.h"

#include <poll.h>

#include <string>

#include "base/coverage_notice.h"
#include "relay/session_start.h"

namespace postrider {
namespace {

void check_stream(const RelayOptions& options, JetStreamClient& client,
                  std::vector<CheckLine>& lines) {
  const auto stream = client.stream_info(options.stream.name);
  const std::string subject = "stream " + options.stream.name;
  if (!stream) {
    lines.push_back(
        {options.stream.create ? CheckLevel::kOk : CheckLevel::kFail, subject,
         options.stream.create ? "does not exist; the relay will create it" : "does not exist",
         options.stream.create ? "" : "create it, or set stream.create = true", true});
    return;
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
}

// Whether we may publish on the source's subjects. The message names a stream that cannot be the
// right one, so JetStream refuses it in any case; where the right is missing, the server says so
// instead of answering.
bool check_publish(const RelayOptions& options, JetStreamClient& client,
                   std::vector<CheckLine>& lines) {
  constexpr int kTimeoutMs = 2000;
  const std::string subject = options.source.name + ".postrider.check";
  Message probe;
  probe.subject = subject;
  client.publish(probe, options.stream.name + "-no-such-stream", 0);
  pollfd entry{client.answers_fd(), POLLIN, 0};
  ::poll(&entry, 1, kTimeoutMs);
  std::vector<wire::PubAck> answers;
  try {
    client.take_answers(answers);
  } catch (const Failure& failure) {
    lines.push_back({CheckLevel::kFail, "NATS permissions", failure.error().context,
                     "allow the relay's user to publish on " + stream_subjects(options) +
                         " (docs/operating.md, \"NATS permissions\")",
                     true});
    return false;
  }
  lines.push_back({CheckLevel::kOk, "NATS permissions", "may publish on " + subject, ""});
  return true;
}

// Nobody answers a notice, so the right to publish one shows by the server's silence: it has
// handled it once it answers what came after, and its complaint follows within a moment. Readers
// ignore what is no notice.
void check_announce(const RelayOptions& options, JetStreamClient& client,
                    std::vector<CheckLine>& lines) {
  constexpr int kComplaintMs = 50;
  const std::string subject = coverage_subject(options.source.name);
  std::vector<wire::PubAck> answers;
  try {
    client.announce(subject, "check");
    (void)client.stream_info(options.stream.name);
    pollfd entry{client.answers_fd(), POLLIN, 0};
    ::poll(&entry, 1, kComplaintMs);
    client.take_answers(answers);
  } catch (const Failure& failure) {
    lines.push_back({CheckLevel::kFail, "relay.announce", failure.error().context,
                     "allow the relay's user to publish on " + subject +
                         " (docs/operating.md, \"NATS permissions\"), or set relay.announce = "
                         "false: then nobody can wait for a token",
                     true});
    return;
  }
  lines.push_back({CheckLevel::kOk, "relay.announce", "may publish on " + subject, ""});
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

// nats.c cannot tell the server's version, so the advice names the versions that it is for.
void check_false_duplicates(const RelayOptions& options, std::vector<CheckLine>& lines) {
  constexpr int kCluster = 3;
  if (!options.message_id || options.stream.replicas < kCluster) return;
  lines.push_back(
      {CheckLevel::kOk, "relay.message_id",
       "on; with nats-server 2.10.14 to 2.10.29 switch it off: their leader changes answer "
       "false duplicates (a stall, no loss)",
       ""});
}

}  // namespace

void check_broker(const RelayOptions& options, const OutboxLimits& limits,
                  std::vector<CheckLine>& lines) {
  try {
    const auto client = connect_broker(options);
    lines.push_back({CheckLevel::kOk, "NATS", "connected to server " + client->server_id(), ""});
    check_stream(options, *client, lines);
    const bool may_publish = check_publish(options, *client, lines);
    check_payload(limits, *client, lines);
    check_false_duplicates(options, lines);
    // Last: a refusal breaks the connection for everything after it.
    if (may_publish && options.announce) check_announce(options, *client, lines);
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
