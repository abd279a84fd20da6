// The start of a session: from "I own the source" to "the WAL streams from the right place", design
// section 3.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "relay/jetstream/client.h"
#include "relay/jetstream/publisher.h"
#include "relay/options.h"
#include "relay/postgres/replication.h"
#include "relay/postgres/source.h"
#include "relay/progress/decision.h"
#include "relay/progress/epoch.h"

namespace postrider {

struct Broker {
  std::unique_ptr<JetStreamClient> client;
  std::unique_ptr<Publisher> publisher;
};

// Everything that a running session needs.
struct OpenSession {
  OpenSession(Source control, Broker broker)
      : source(std::move(control)),
        client(std::move(broker.client)),
        publisher(std::move(broker.publisher)) {}

  Source source;
  std::unique_ptr<JetStreamClient> client;
  std::unique_ptr<Publisher> publisher;
  std::unique_ptr<ReplicationConnection> wal;
  Checkpoint checkpoint;
  Start start;
  Epochs epochs;
  TimelineHistory history{1};
  wire::StreamInfo stream;
  Lsn slot_confirmed;
  bool slot_failover = false;
  bool batches = false;  // the publisher sends fast-ingest batches
  Lsn flushed;  // every commit before this session ends at or before it, and decoding gets there
};

// Connects to the broker first, so that a session never takes the slot from a held connection in
// vain.
[[nodiscard]] Broker connect_broker(const RelayOptions& options);
// For who only asks.
[[nodiscard]] std::unique_ptr<JetStreamClient> connect_client(const RelayOptions& options);
// For who publishes.
[[nodiscard]] std::unique_ptr<Publisher> connect_publisher(const RelayOptions& options);

// Waits until the standbys that a failover slot waits for have what the session has written so far.
// False when it was asked to stop.
using AwaitStandbys = std::function<bool(OpenSession&)>;

// Throws kSessionFenced where the source has another owner by now. Asked before anything is done to
// the slot or the row: whoever only believes to be the owner would end the real one's session.
using RequireOwner = std::function<void(Source&)>;

// Opens a session with a broker that answers. Nothing when `await_standbys`, which is called for a
// failover slot alone, said false. Throws Failure. `watch` outlives the session.
[[nodiscard]] std::optional<OpenSession> open_session(const RelayOptions& options, Broker broker,
                                                      SqlWatch& watch,
                                                      const RequireOwner& require_owner,
                                                      const AwaitStandbys& await_standbys);

// What both servers say about the source, read one after another: the input of decide(). The stream
// is `stream`, or nothing where there is none.
[[nodiscard]] Facts gather_facts(const RelayOptions& options, NatsConnection& client,
                                 const std::optional<wire::StreamInfo>& stream,
                                 const SystemIdentity& identity, const TimelineHistory& history,
                                 const Checkpoint& checkpoint, const Epochs& epochs,
                                 const SlotFacts& slot);

// What is missing in the stream behind the checkpoint, with what follows it still there: the broker
// has lost it, or somebody has deleted it, and behind the end it would be out of order.
[[nodiscard]] std::optional<Error> find_hole(NatsConnection& client, const wire::StreamInfo& stream,
                                             const Checkpoint& checkpoint);
// Nothing that ages, and nothing that may be purged, takes from the front.
[[nodiscard]] bool keeps_front(const wire::StreamInfo& stream);
// It keeps its front, and yet does not reach back to what follows the durable message: the broker
// has lost that. `stream` is the one that the row names.
[[nodiscard]] bool lost_front(const wire::StreamInfo& stream, std::uint64_t durable_seq);

// Whose messages may stand in the stream behind the durable one: the row's, and that one's.
[[nodiscard]] std::vector<std::uint32_t> known_epochs(const Checkpoint& checkpoint,
                                                      const Epochs& epochs);

// The subjects of a source's stream.
[[nodiscard]] std::string stream_subjects(const RelayOptions& options);

}  // namespace postrider
