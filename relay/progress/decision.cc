#include "relay/progress/decision.h"

#include <algorithm>
#include <utility>

namespace postrider {
namespace {

std::string describe(const Mark& mark) {
  if (!mark.names_message()) return "ordinal " + std::to_string(mark.ordinal);
  return "ordinal " + std::to_string(mark.ordinal) + " at " + mark.position.to_string() +
         " (stream sequence " + std::to_string(mark.seq) + ")";
}

const PositionHeader* readable_tail(const Facts& facts) {
  return facts.stream ? std::get_if<PositionHeader>(&facts.tail) : nullptr;
}

bool same_incarnation(const Facts& facts) {
  return facts.stream && facts.stream->incarnation == facts.checkpoint.incarnation;
}

// Nothing was published since the row was written, and the row names no message: what stands before
// that sequence is not what this session goes on from.
bool nothing_published(const Facts& facts) {
  return same_incarnation(facts) && !facts.checkpoint.mark.names_message() &&
         facts.stream->last_seq == facts.checkpoint.mark.seq;
}

// The newest message of a stream that the row does not know and that holds, whole, what the one it
// knows held: a broker that lost the description of a young stream and not its files gives them to
// the stream that is made in its place.
const PositionHeader* left_behind(const Facts& facts) {
  const auto& c = facts.checkpoint;
  const bool young = !c.incarnation.empty() && c.mark.is_none();
  if (!facts.stream || same_incarnation(facts) || !young) return nullptr;
  const bool whole =
      facts.stream->first_seq == 1 && facts.stream->messages == facts.stream->last_seq;
  return whole ? readable_tail(facts) : nullptr;
}

// Rows 1-3 of the table: is this server the one whose commits the stream holds?
std::optional<Error> divergence(const Facts& facts) {
  const auto& c = facts.checkpoint;
  if (facts.system_id != c.system_id)
    return Error{
        ErrorKind::kWrongSystem,
        "the server's system identifier is " + facts.system_id + ", the checkpoint row's is " +
            c.system_id,
        "point source.conninfo at the right cluster; for one moved by dump or pg_upgrade stop the "
        "services and follow docs/operating.md, \"wrong system\""};
  const auto* tail = readable_tail(facts);
  if (tail == nullptr || nothing_published(facts) ||
      (!same_incarnation(facts) && left_behind(facts) == nullptr))
    return std::nullopt;
  const Position& m = tail->position;
  if (m.timeline == facts.history.current() && facts.flushed < m.commit_lsn)
    return Error{
        ErrorKind::kSourceWentBack,
        "the stream's newest message is ordinal " + std::to_string(tail->ordinal) + " at " +
            m.to_string() + ", but the server's WAL ends at " + facts.flushed.to_string(),
        "the source was put back to an older state after its events had been published: "
        "restore a state that includes that position, or give up what was published since: "
        "`postrider repair --dry-run` lists it"};
  if (!facts.history.contains(m.timeline, m.commit_lsn))
    return Error{
        ErrorKind::kTimelineDiverged,
        "the stream's newest message is ordinal " + std::to_string(tail->ordinal) + " at " +
            m.to_string() + ", which is not part of the history of timeline " +
            std::to_string(facts.history.current()),
        "a standby was promoted without those commits: fail back, or have the void messages "
        "deleted: `postrider repair --dry-run` lists them; read models past them are rebuilt"};
  return std::nullopt;
}

std::optional<Error> slot_problem(const Facts& facts) {
  const auto& slot = facts.slot;
  const std::string name = "slot \"" + facts.slot_name + "\" ";
  const std::string never_now = "do not create one \"at now\": commits since " +
                                facts.checkpoint.confirm_to.to_string() +
                                " would be lost. `postrider repair` makes a new one and sends the "
                                "outbox rows that the stream lacks; --dry-run lists them "
                                "(docs/operating.md, \"slot lost\")";
  if (!slot.exists) return Error{ErrorKind::kSlotMissing, name + "does not exist", never_now};
  if (slot.lost)
    return Error{ErrorKind::kSlotUnusable, name + "is invalidated: WAL that it needs was removed",
                 never_now + "; afterwards raise max_slot_wal_keep_size"};
  if (slot.plugin != "pgoutput" || slot.other_database)
    return Error{ErrorKind::kSlotUnusable,
                 name + "is not a pgoutput slot of this database (plugin " + slot.plugin + ")",
                 "set source.slot to the name that `postrider migrate up` made"};
  if (slot.two_phase)
    return Error{
        ErrorKind::kSlotUnusable,
        name + "has two_phase on: prepared transactions would be carried before they commit",
        "somebody used the slot with two_phase, which is sticky; " + never_now};
  if (slot.confirmed > facts.checkpoint.confirm_to)
    return Error{ErrorKind::kSlotUnusable,
                 name + "is confirmed up to " + slot.confirmed.to_string() +
                     ", beyond what this relay ever confirmed (" +
                     facts.checkpoint.confirm_to.to_string() + "): it was recreated or advanced",
                 never_now};
  return std::nullopt;
}

Error durable_lost(const Facts& facts, const std::string& what) {
  const auto& c = facts.checkpoint;
  return {ErrorKind::kDurableEventsLost,
          "stream \"" + facts.stream_name + "\" " + what + ", but " + describe(c.mark) +
              " was durable and the slot may have forgotten everything up to " +
              c.confirm_to.to_string(),
          "restore the stream from a backup that holds it, or have the missing outbox rows sent "
          "again: `postrider repair`, --dry-run lists them (docs/operating.md, \"durable events "
          "lost\"); raise relay.broker_sync_interval if the "
          "broker "
          "syncs less often than stated"};
}

Error foreign(const Facts& facts, const std::string& what) {
  return {
      ErrorKind::kForeignMessage,
      "stream \"" + facts.stream_name + "\" sequence " +
          std::to_string(facts.stream ? facts.stream->last_seq : 0) + ": " + what,
      "let only the relay's NATS user publish on its subjects; restore the stream from a backup "
      "that ends before that sequence, or `postrider repair --void-after ORDINAL`. Deleting the "
      "message helps nothing: its sequence stays used (docs/operating.md, \"foreign message\")"};
}

// Goes on after `mark`. The transaction of the mark is asked for again, and its fingerprint
// compared, unless the slot was confirmed past it: then the row vouched that everything before was
// durable.
Start go_on_after(const Facts& facts, const Mark& mark, std::uint64_t skip) {
  Start start;
  start.mark = mark;
  start.skip = skip;
  if (mark.names_message() && facts.slot.confirmed <= mark.position.commit_lsn) {
    start.start_lsn = mark.position.commit_lsn;
    start.verify_first = true;
  }
  return start;
}

// The newest message cannot be read: the row is the mark, and what followed it is counted, not
// seen.
Result<Start> start_without_tail(const Facts& facts) {
  const auto& c = facts.checkpoint;
  const std::uint64_t skip = facts.stream->last_seq - c.mark.seq;
  if (skip > 0 && facts.stream->reports_lost_data)
    return tl::unexpected(durable_lost(facts, "reports lost data and its newest message is gone"));
  if (skip > 0 && facts.history.current() != c.mark.position.timeline && !c.mark.is_none())
    return tl::unexpected(
        Error{ErrorKind::kTimelineDiverged,
              "the stream's newest message is gone and a standby was promoted since: the " +
                  std::to_string(skip) + " messages after " + describe(c.mark) +
                  " cannot be told apart from void ones",
              "`postrider repair --dry-run` compares the stream's messages with the outbox rows "
              "(docs/operating.md, \"timeline diverged\")"});
  Start start = go_on_after(facts, c.mark, skip);
  start.tail_gone = true;
  return start;
}

Result<Start> start_at_tail(const Facts& facts, const PositionHeader& tail) {
  const auto& c = facts.checkpoint;
  const Mark mark{facts.stream->last_seq, tail.ordinal, tail.position, tail.fingerprint,
                  tail.epoch};
  if (mark.ordinal < c.mark.ordinal || (!c.mark.is_none() && mark.position < c.mark.position))
    return tl::unexpected(durable_lost(facts, "ends with " + describe(mark)));
  const std::uint64_t durable_seq = same_incarnation(facts) ? c.mark.seq : 0;
  if (mark.ordinal - c.mark.ordinal != mark.seq - durable_seq)
    return tl::unexpected(foreign(
        facts, "its ordinal " + std::to_string(mark.ordinal) + " does not fit " + describe(c.mark) +
                   ": the stream holds a message that this source did not "
                   "publish"));
  if (mark.ordinal == c.mark.ordinal &&
      (mark.position != c.mark.position || mark.fingerprint != c.mark.fingerprint))
    return tl::unexpected(foreign(facts, "it differs from the durable message of its ordinal"));
  const bool known = std::ranges::find(facts.epochs, mark.epoch) != facts.epochs.end();
  if (mark.epoch < c.mark.epoch || !known)
    return tl::unexpected(foreign(
        facts, "its epoch " + std::to_string(mark.epoch) + " was never opened by this source"));
  return go_on_after(facts, mark, 0);
}

// No stream, or one that the row does not know.
Result<Start> start_anew(const Facts& facts) {
  const auto& c = facts.checkpoint;
  // Behind a hole, a stream that held nothing when it was bound may be lost like a young one.
  if (!c.mark.is_none() && (c.mark.names_message() || c.mark.seq > 0))
    return tl::unexpected(durable_lost(
        facts, facts.stream ? "is another one than before (created " + facts.stream->incarnation +
                                  ", before " + c.incarnation + ")"
                            : "does not exist"));
  if (const auto* tail = left_behind(facts)) {
    auto start = start_at_tail(facts, *tail);
    if (start) start->bind_stream = true;
    return start;
  }
  if (facts.stream && facts.stream->messages > 0) {
    auto error = foreign(facts, "the stream holds messages, but this source never used it");
    if (!c.incarnation.empty())
      error.remedy =
          "if they are this source's own, left over by a broker that lost the stream: "
          "delete it. Nothing in it was confirmed, and all is published again. Else " +
          error.remedy;
    return tl::unexpected(std::move(error));
  }
  Start start;
  start.create_stream = !facts.stream;
  start.bind_stream = true;
  start.mark = c.mark;
  start.mark.seq = facts.stream ? facts.stream->last_seq : 0;
  return start;
}

}  // namespace

Result<Start> decide(const Facts& facts) {
  if (auto error = divergence(facts)) return tl::unexpected(std::move(*error));
  if (auto error = slot_problem(facts)) return tl::unexpected(std::move(*error));
  if (!same_incarnation(facts)) return start_anew(facts);
  if (facts.stream->last_seq < facts.checkpoint.mark.seq)
    return tl::unexpected(
        durable_lost(facts, "ends at sequence " + std::to_string(facts.stream->last_seq)));
  // Seen once is enough: where the message was deleted since, only its sequence is left, and would
  // be counted as one of ours.
  if (const auto& seen = facts.checkpoint.foreign_seq;
      seen && facts.stream->last_seq >= *seen && !std::holds_alternative<TailForeign>(facts.tail))
    return tl::unexpected(foreign(
        facts, "an earlier session found a foreign message at sequence " + std::to_string(*seen)));
  if (const auto* bad = std::get_if<TailForeign>(&facts.tail))
    return tl::unexpected(foreign(facts, bad->why));
  if (nothing_published(facts)) {
    const auto* tail = readable_tail(facts);
    if (tail != nullptr && facts.hole && tail->ordinal >= facts.hole->first)
      return tl::unexpected(
          Error{ErrorKind::kRepairUnfinished,
                "ordinal " + std::to_string(tail->ordinal) +
                    ", which a repair has given up and deleted, is in the stream again",
                "the broker has lost the deletion: run `postrider repair --void-after " +
                    std::to_string(facts.hole->first - 1) + "` again"});
    return go_on_after(facts, facts.checkpoint.mark, 0);
  }
  if (std::holds_alternative<TailGone>(facts.tail)) return start_without_tail(facts);
  return start_at_tail(facts, std::get<PositionHeader>(facts.tail));
}

}  // namespace postrider
