#include "relay/session_start.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>

#include "base/failpoint.h"
#include "base/wake.h"
#include "base/wal_page.h"
#include "migrations/migrations.h"
#include "relay/route/parts.h"
#include "relay/tail_chain.h"

namespace postrider {
namespace {

constexpr milliseconds kConnectTimeout{2000};
// Answers to fast-ingest batches: a few for each window. A lone event is answered at the end of its
// batch, and not before; more messages for one answer the server does not allow.
constexpr std::size_t kAnswersOfAWindow = 8;
constexpr std::size_t kFewestAnswered = 2;
constexpr std::size_t kMostAnswered = 500;
constexpr milliseconds kSlotReleaseDeadline{5000};
constexpr milliseconds kSlotReleasePoll{50};

EpochSettings wanted_settings(const RelayOptions& options) {
  // Without captures nothing is split, and the row stays readable to binaries that never did.
  const bool captures = !options.captures.empty();
  return {.encoder_version = kEncoderVersion,
          .source = options.source.name,
          .message_id = options.message_id,
          .wal_store = options.wal_store,
          .format = options.format,
          .captures = options.captures,
          .backfill = captures,
          .outboxes = options.outboxes,
          .part_bytes = captures ? options.part_bytes : 0};
}

void require_settings(const wire::StreamInfo& stream, const RelayOptions& options) {
  std::string fatal;
  std::string remedy;
  for (const auto& problem : wire::review_settings(stream, stream_subjects(options))) {
    if (!problem.fatal) {
      spdlog::warn("stream {}: {} {}", stream.name, problem.setting, problem.what);
      continue;
    }
    fatal += (fatal.empty() ? "" : "; ") + problem.setting + " " + problem.what;
    remedy += (remedy.empty() ? "" : "; ") + problem.setting + ": " + problem.remedy;
  }
  if (!fatal.empty())
    throw Failure(ErrorKind::kStreamSettings, "stream \"" + stream.name + "\" " + fatal, remedy);
}

Tail read_tail(NatsConnection& client, const RelayOptions& options,
               const wire::StreamInfo& stream) {
  POSTRIDER_FAILPOINT("session.before_read_mark");
  if (stream.last_seq == 0 || stream.messages == 0) return TailGone{};
  const auto message = client.message(options.stream.name, stream.last_seq);
  POSTRIDER_FAILPOINT("session.after_read_mark");
  if (!message) {
    // Gone by age, or cut off a moment ago?
    const auto again = client.stream_info(options.stream.name);
    if (!again || again->created != stream.created || again->last_seq < stream.last_seq)
      throw Failure(ErrorKind::kPublishInDoubt, "the stream was cut off while it was read");
    return TailGone{};
  }
  const auto value = wire::find_header(message->headers, kPositionHeader);
  if (!value)
    return TailForeign{"a message on " + message->subject + " without Postrider-Position"};
  const auto header = PositionHeader::parse(*value);
  if (!header) return TailForeign{"an unreadable Postrider-Position on " + message->subject};
  if (!message->subject.starts_with(options.source.name + "."))
    return TailForeign{"a message of another source on " + message->subject};
  return *header;
}

// This relay owns the source, so whoever still holds the slot is the past: an old session of ours,
// or a paused relay. The same role may end it.
SlotState free_slot(Source& source, const RelayOptions& options) {
  const auto deadline = std::chrono::steady_clock::now() + kSlotReleaseDeadline;
  while (true) {
    auto state = source.slot(options.source.slot);
    if (!state.active_pid) return state;
    source.terminate(*state.active_pid);
    if (std::chrono::steady_clock::now() > deadline)
      throw Failure(ErrorKind::kPostgresUnavailable,
                    "slot \"" + options.source.slot + "\" is held by backend " +
                        std::to_string(*state.active_pid) + ", which does not end",
                    "");
    std::this_thread::sleep_for(kSlotReleasePoll);
  }
}

void make_stream(OpenSession& session, const RelayOptions& options) {
  if (!options.stream.create)
    throw Failure(
        ErrorKind::kStreamSettings,
        "stream \"" + options.stream.name + "\" does not exist and stream.create is false",
        "create it as docs/operating.md, \"Making the stream yourself\", says, or set "
        "stream.create = true");
  POSTRIDER_FAILPOINT("stream.before_create");
  // Which an older server could not host any more: only for who uses it.
  StreamOptions wanted = options.stream;
  wanted.fast_ingest = wanted.fast_ingest && !options.message_id;
  session.stream = session.client->create_stream(wanted, stream_subjects(options));
  POSTRIDER_FAILPOINT("stream.after_create");
  spdlog::info("created stream {} for {}", options.stream.name, stream_subjects(options));
  if (session.stream.last_seq > 0)
    throw Failure(ErrorKind::kBrokerUnavailable,
                  "the stream holds " + std::to_string(session.stream.messages) +
                      " messages from before it was made: the broker had lost its description");
}

// Before an epoch is opened whose parts the broker would refuse.
void require_part_room(const OpenSession& session, const RelayOptions& options) {
  const auto part_bytes = wanted_settings(options).part_bytes;
  const auto require = [&](std::size_t most, std::string_view limit) {
    if (auto fits = require_room_for_parts(part_bytes, most, limit); !fits)
      throw Failure(std::move(fits.error()));
  };
  require(session.client->max_payload(), "the broker's max_payload");
  if (session.stream.max_msg_size >= 0)
    require(static_cast<std::size_t>(session.stream.max_msg_size), "the stream's max_msg_size");
}

// Goes on only behind messages that are all this source's own.
void require_chain(OpenSession& session, const RelayOptions& options) {
  const auto foreign =
      find_foreign(*session.client, options.stream.name, session.checkpoint.mark.seq,
                   session.start.mark, session.history,
                   known_epochs(session.checkpoint, session.epochs));
  if (!foreign) return;
  session.source.note_foreign(options.source.name, session.checkpoint.session, foreign->seq);
  throw Failure(
      ErrorKind::kForeignMessage,
      "stream \"" + options.stream.name + "\" sequence " + std::to_string(foreign->seq) +
          " holds " + foreign->what +
          ": the event that was meant for that sequence is not in the stream",
      "restore the stream to before that message, or `postrider repair --void-after ORDINAL` "
      "(docs/operating.md, \"foreign message\")");
}

// The facts are read one after another. Whoever stood still between two of them may hold a WAL's
// end from before a newer session and a mark from behind it: nothing to halt for. And whoever stood
// still until the newer one had let go of the slot would carry, by the epochs that it has read, what
// belongs to an epoch opened since.
void require_newest_session(Source& source, const Checkpoint& checkpoint,
                            const RelayOptions& options) {
  const auto row = source.read_checkpoint(options.source.name);
  if (!row || row->session != checkpoint.session)
    throw Failure(ErrorKind::kSessionFenced, "a newer session began before this one could");
}

// Nobody but this session moves the slot from START_REPLICATION on. Where it was moved before, by a
// session that was newer for a while or by somebody who made the slot anew, the first transaction
// that comes may not be the one that follows the mark. And where the row and the WAL were read from
// two servers, one of them about to be replaced by the other, the row would vouch for the wrong one.
void require_slot_as_read(OpenSession& session, const RelayOptions& options) {
  const SlotState slot = session.source.slot(options.source.slot);
  if (slot.active_pid != session.wal->backend_pid())
    throw Failure(ErrorKind::kPostgresUnavailable,
                  "slot \"" + options.source.slot +
                      "\" is not held by this session's own connection: it was ended, or leads to "
                      "another server than the checkpoint row's");
  if (slot.facts.confirmed == session.slot_confirmed) return;
  throw Failure(ErrorKind::kSessionFenced, "slot \"" + options.source.slot + "\" was at " +
                                               session.slot_confirmed.to_string() +
                                               " when this session began, and has been moved to " +
                                               slot.facts.confirmed.to_string());
}

// A change of settings takes effect at a WAL position read after the slot was ours: every commit
// that an older relay can hold lies before it, as nobody older gets the slot again
// (require_newest_session). A wal store that was closed by hand and is wanted again needs no new
// epoch, only the row that opens it. True when the row was written.
bool open_epoch_if_needed(OpenSession& session, const RelayOptions& options) {
  const auto wanted = wanted_settings(options);
  const std::uint32_t timeline = session.history.current();
  const bool changed = session.epochs.needs_new(wanted, timeline);
  if (!changed && session.checkpoint.wal_store == wanted.wal_store) return false;
  if (changed) {
    POSTRIDER_FAILPOINT("epoch.before_open");
    session.epochs.forget_before(session.checkpoint.mark.position.commit_lsn);
    session.epochs.open(timeline, session.source.insert_lsn(), wanted);
  }
  session.source.set_epochs(options.source.name, session.checkpoint.session,
                            session.epochs.to_json(), wanted.wal_store);
  if (changed)
    spdlog::info("epoch {} opened from {}", session.epochs.newest().number,
                 session.epochs.newest().from.to_string());
  return true;
}

// Not for messages with ids, of any epoch that may yet have some to send: in a batch, one that the
// broker takes for a duplicate is passed over without a word, and where a foreign message has its
// sequence the batch goes on.
void choose_batches(OpenSession& session, const RelayOptions& options) {
  if (!options.stream.fast_ingest || !session.stream.fast_ingest) return;
  Epochs left = session.epochs;
  left.forget_before(session.start.mark.position.commit_lsn);
  if (left.any_message_ids()) return;
  session.batches = true;
  session.publisher->use_batches(static_cast<std::uint16_t>(std::clamp(
      options.window_messages / kAnswersOfAWindow, kFewestAnswered, kMostAnswered)));
}

}  // namespace

std::string stream_subjects(const RelayOptions& options) {
  return options.source.name + ".>";
}

Broker connect_broker(const RelayOptions& options) {
  return {connect_client(options), connect_publisher(options)};
}

std::unique_ptr<JetStreamClient> connect_client(const RelayOptions& options) {
  return std::make_unique<JetStreamClient>(options.nats, "postrider relay " + options.source.name,
                                           kConnectTimeout);
}

std::unique_ptr<Publisher> connect_publisher(const RelayOptions& options) {
  return std::make_unique<Publisher>(
      options.nats, "postrider relay " + options.source.name + " publisher", kConnectTimeout);
}

// Age takes from the stream's front. (A newest message that somebody deleted is counted: decide().)
std::optional<Error> find_hole(NatsConnection& client, const wire::StreamInfo& stream,
                               const Checkpoint& checkpoint) {
  // Another stream than the row's is decide()'s to judge.
  if (stream.messages == 0 || stream.created != checkpoint.incarnation) return std::nullopt;
  std::uint64_t missing = lost_front(stream, checkpoint.mark.seq) ? stream.first_seq - 1 : 0;
  if (stream.messages <= stream.last_seq - stream.first_seq)
    missing = std::max(missing, client.newest_missing(stream.name));
  if (missing <= checkpoint.mark.seq) return std::nullopt;
  if (missing == stream.last_seq && !stream.deny_delete) return std::nullopt;
  return Error{
      ErrorKind::kDurableEventsLost,
      "stream \"" + stream.name + "\" lacks messages up to sequence " + std::to_string(missing) +
          " that it acknowledged, and holds later ones",
      "restore the stream from a backup that holds them, or have what is behind them sent again: "
      "`postrider repair --dry-run` (docs/operating.md, \"durable events lost\"); the slot "
      "still has all after " +
          checkpoint.confirm_to.to_string()};
}

bool keeps_front(const wire::StreamInfo& stream) {
  return stream.max_age.count() == 0 && stream.deny_purge;
}

bool lost_front(const wire::StreamInfo& stream, std::uint64_t durable_seq) {
  return keeps_front(stream) && stream.first_seq > durable_seq + 1;
}

std::vector<std::uint32_t> known_epochs(const Checkpoint& checkpoint, const Epochs& epochs) {
  auto numbers = epochs.numbers();
  numbers.push_back(checkpoint.mark.epoch);
  return numbers;
}

// Before an epoch is opened that captures: from then on every session asks for the capture
// publication, and the server would refuse each.
void require_passed_capture_publication(const OpenSession& session) {
  if (session.epochs.any_captures()) return;
  const Lsn start = std::max(session.start.start_lsn, session.slot_confirmed);
  if (start >= session.checkpoint.capture_from) return;
  throw Failure(ErrorKind::kPublicationMissing,
                "WAL from " + start.to_string() +
                    " on has to be decoded, and the publication of captured tables was made later, "
                    "at " +
                    session.checkpoint.capture_from.to_string(),
                "let the relay run without [[capture]] until it has carried, or confirmed, "
                "something newer: docs/capture.md, \"Upgrading\"");
}

Facts gather_facts(const RelayOptions& options, NatsConnection& client,
                   const std::optional<wire::StreamInfo>& stream, const SystemIdentity& identity,
                   const TimelineHistory& history, const Checkpoint& checkpoint,
                   const Epochs& epochs, const SlotFacts& slot) {
  Facts facts;
  facts.system_id = identity.system_id;
  facts.flushed = identity.flushed;
  facts.history = history;
  facts.checkpoint = checkpoint;
  facts.epochs = known_epochs(checkpoint, epochs);
  if (!epochs.empty()) facts.hole = epochs.newest().hole;
  facts.slot_name = options.source.slot;
  facts.slot = slot;
  facts.stream_name = options.stream.name;
  if (!stream) return facts;
  facts.stream = StreamFacts{stream->created, stream->first_seq, stream->last_seq, stream->messages,
                             stream->lost > 0};
  facts.tail = read_tail(client, options, *stream);
  return facts;
}

std::optional<OpenSession> open_session(const RelayOptions& options, Broker broker, SqlWatch& watch,
                                        const RequireOwner& require_owner,
                                        const AwaitStandbys& await_standbys) {
  OpenSession session(Source(options.source.conninfo, "postrider " + options.source.name, &watch),
                      std::move(broker));
  Source& source = session.source;
  source.require_schema(latest_service_schema_version());
  require_owner(source);

  if (const int ended = source.end_stuck_commits(); ended > 0)
    spdlog::warn("ended {} commit(s) of earlier sessions that waited for synchronous replication",
                 ended);

  POSTRIDER_FAILPOINT("session.before_open");
  session.checkpoint = source.open_session(options.source.name);
  POSTRIDER_FAILPOINT("session.after_open");
  require_binding(session.checkpoint, options.source.slot, options.source.publication);
  if (session.checkpoint.repairing)
    throw Failure(ErrorKind::kRepairUnfinished,
                  "a repair of source " + options.source.name + " has begun and not ended",
                  "run `postrider repair` again: it starts over with what it has not done yet");
  if (session.checkpoint.wal_store && !options.wal_store)
    throw Failure(ErrorKind::kConfiguration,
                  "the wal store of source " + options.source.name +
                      " is open and relay.wal_store is false: its events would be lost",
                  "as the owner: SELECT outbox.disable_wal_store('" + options.source.name +
                      "'), which waits for its writers; or set relay.wal_store = true");
  session.flushed = reachable(source.flush_lsn());
  session.epochs = value_or_throw(Epochs::from_json(session.checkpoint.epochs_json));
  const SlotState slot = free_slot(source, options);
  session.slot_confirmed = slot.facts.confirmed;
  session.slot_failover = slot.failover;

  session.wal = std::make_unique<ReplicationConnection>(
      ReplicationOptions{options.source.conninfo, "postrider_" + options.source.name,
                         options.wal_sender_timeout, &watch});
  const SystemIdentity identity = session.wal->identify();
  session.history = session.wal->timeline_history(identity.timeline);

  const auto stream = session.client->stream_info(options.stream.name);
  if (stream) {
    require_settings(*stream, options);
    session.stream = *stream;
    if (auto hole = find_hole(*session.client, *stream, session.checkpoint))
      throw Failure(std::move(*hole));
  }
  const Facts facts = gather_facts(options, *session.client, stream, identity, session.history,
                                   session.checkpoint, session.epochs, slot.facts);
  auto start = decide(facts);
  if (!start) require_newest_session(source, session.checkpoint, options);
  if (!start && start.error().kind == ErrorKind::kForeignMessage &&
      session.stream.created == session.checkpoint.incarnation)
    source.note_foreign(options.source.name, session.checkpoint.session, session.stream.last_seq);
  session.start = value_or_throw(std::move(start));
  if (std::holds_alternative<PositionHeader>(facts.tail) && session.start.mark.names_message())
    require_chain(session, options);
  session.start.published_before = reachable(source.flush_lsn());

  require_publication(source.publication(options.source.publication),
                      session.checkpoint.publication_version);
  std::vector<std::string> publications = {options.source.publication};
  if (wanted_settings(options).carries_rows() || session.epochs.any_captures()) {
    publications.push_back(capture_publication(options.source.publication));
    require_capture(publications.back(), source.capture_problem(options.source.name));
    require_passed_capture_publication(session);
  }
  if (session.start.create_stream) make_stream(session, options);
  if (session.start.bind_stream) {
    // Of one that holds our messages already the row gets the sequence before the first of them.
    if (!session.start.mark.names_message()) session.start.mark.seq = session.stream.last_seq;
    const auto& mark = session.start.mark;
    source.bind_stream(options.source.name, session.checkpoint.session, session.stream.created,
                       mark.names_message() ? mark.seq - mark.ordinal : mark.seq);
    POSTRIDER_FAILPOINT("stream.after_bind");
  }
  // The stream is another one, or lost that message with its tail: the sequence will be ours.
  if (session.checkpoint.foreign_seq)
    source.note_foreign(options.source.name, session.checkpoint.session, std::nullopt);
  // What a session is known by on a promoted standby, its stream's incarnation and its epochs, is in
  // the row: before anything is published, the standbys have it. Before the WAL streams, because a
  // walsender that waits for a standby warns of it, and nobody would read that.
  if (session.slot_failover && !await_standbys(session)) return std::nullopt;
  session.wal->start(
      options.source.slot, publications, session.start.start_lsn,
      options.wal_store || !options.captures.empty() || session.epochs.any_messages());
  require_slot_as_read(session, options);
  require_newest_session(source, session.checkpoint, options);
  require_part_room(session, options);
  const bool written = open_epoch_if_needed(session, options);
  if (written && session.slot_failover && !await_standbys(session)) return std::nullopt;
  choose_batches(session, options);
  return session;
}

}  // namespace postrider
