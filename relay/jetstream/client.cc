#include "relay/jetstream/client.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/jetstream/mailbox.h"
#include "base/jetstream/server_version.h"

namespace postrider {
namespace {

using Json = nlohmann::json;

// Servers that do not know a setting may refuse the whole stream for it.
bool knows_batches(const std::string& url) {
  const auto version = read_server_version(url, std::chrono::seconds(2));
  return version && version->has_fast_ingest();
}

std::string stream_config(const StreamOptions& options, const std::string& subjects,
                          bool batches) {
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
  if (batches) config["allow_batched"] = true;
  return config.dump();
}

}  // namespace

JetStreamClient::JetStreamClient(const NatsOptions& options, const std::string& client_name,
                                 std::chrono::milliseconds timeout)
    : JetStreamClient(options, client_name, timeout, Mailbox<std::monostate>::open()) {}

JetStreamClient::JetStreamClient(const NatsOptions& options, const std::string& client_name,
                                 std::chrono::milliseconds timeout, Errors errors)
    : NatsConnection(options, client_name, timeout, errors), errors_(std::move(errors)) {}

JetStreamClient::~JetStreamClient() = default;

wire::StreamInfo JetStreamClient::create_stream(const StreamOptions& options,
                                                const std::string& subjects) {
  const bool batches = options.fast_ingest && knows_batches(server_url());
  const std::string answer =
      request("$JS.API.STREAM.CREATE." + options.name, stream_config(options, subjects, batches));
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

}  // namespace postrider
