#include "readmodel/apply_session.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/failpoint.h"
#include "readmodel/attempt.h"
#include "readmodel/progress/retention.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kPoll{500};         // for a decision, or for the stream
constexpr int kHeartbeatsPerTakeover = 4;  // a standby judges our life by them
constexpr milliseconds kBarrierLook{500};  // while there is none
constexpr milliseconds kBarrierPoll{10};   // while verify holds us: its hold is short
constexpr milliseconds kLook{2000};        // at the stream: its incarnation, its length, its start
// A request for messages expires, and says so, after five seconds: longer silence is no silence.
constexpr seconds kSilence{12};

StreamView view_of(const wire::StreamInfo& stream) {
  return {stream.created, stream.first_seq, stream.last_seq};
}

PositionHeader header_of(const wire::StoredMessage& message, const std::string& stream) {
  const auto header = wire::position_header(message);
  if (!header)
    throw Failure(ErrorKind::kForeignMessage,
                  "stream \"" + stream + "\" sequence " + std::to_string(message.seq) +
                      " is not a message of this source's relay",
                  "somebody else published into the stream: see docs/operating.md, \"foreign "
                  "message\"");
  return *header;
}

}  // namespace

ApplySession::ApplySession(const ReadModelOptions& options, const Projections& projections,
                           Target& target, StreamFeed& feed, Control control, ReadModelBoard& board)
    : options_(options),
      projections_(projections),
      target_(target),
      feed_(feed),
      control_(std::move(control)),
      board_(board),
      now_(std::chrono::steady_clock::now()),
      last_statement_(now_),
      last_look_(now_),
      last_barrier_look_(now_ - kBarrierLook) {}

ApplySession::~ApplySession() = default;

void ApplySession::run() {
  try {
    apply_stream();
  } catch (const Failure& failure) {
    if (info(failure.error().kind).disposition == Disposition::kHalt) require_own_cursor();
    throw;
  }
}

// Whoever stood still while another applied may find the stream without what it thinks it needs.
void ApplySession::require_own_cursor() {
  const Cursor known = cursor_;
  open_.reset();
  if (!(target_.open() == known))
    throw Failure(ErrorKind::kSessionFenced, "another applier has moved the cursor");
}

void ApplySession::apply_stream() {
  cursor_ = target_.open();
  board_.update([&](ReadModelStatus& status) { status.cursor = cursor_; });
  if (!await_decision() || !open_stream()) return;
  note_idle();
  while (!finished()) {
    if (pending_.bytes < 2 * options_.batch_bytes) feed_.ask_for_more();
    // What is complete and still there after apply_pending() was held back.
    const bool is_held = barrier_ || pending_.complete > 0;
    wait(std::min(is_held ? kBarrierPoll : kBarrierLook, heartbeat_interval()));
    if (control_.stop_requested()) return;  // what is pending is read again next time
    now_ = std::chrono::steady_clock::now();
    take_input();
    look_at_barrier();
    apply_pending();
    note_idle();
    note_coverage();
    report_barrier_reached();
    keep_time();
  }
}

bool ApplySession::finished() const {
  // What is left then is the beginning of a source transaction whose rest is not published yet.
  return options_.until_caught_up && pending_.complete == 0 && chain_->end().seq >= caught_up_seq_;
}

milliseconds ApplySession::heartbeat_interval() const {
  return options_.takeover_after / kHeartbeatsPerTakeover;
}

void ApplySession::wait(milliseconds longest) {
  std::array<pollfd, 2> entries{{{control_.wake.fd(), POLLIN, 0}, {feed_.fd(), POLLIN, 0}}};
  ::poll(entries.data(), entries.size(), static_cast<int>(longest.count()));
}

// ---- Where to begin ----

bool ApplySession::open_stream() {
  bool waited = false;
  while (true) {
    const auto stream = feed_.stream_info(options_.stream);
    Place place =
        value_or_throw(place_in(cursor_, stream ? std::optional(view_of(*stream)) : std::nullopt));
    if (std::holds_alternative<ReadFrom>(place) && !cursor_.is_none()) {
      // Cut back and published again, the stream may hold the same events at other sequences.
      const auto own = feed_.message(options_.stream, cursor_.seq);
      if (own && header_of(*own, options_.stream).ordinal != cursor_.ordinal)
        place = SearchByOrdinal{};
    }
    if (std::holds_alternative<SearchByOrdinal>(place))
      place = value_or_throw(place_after_search(cursor_, search()));
    if (const auto* from = std::get_if<ReadFrom>(&place)) {
      chain_.emplace(cursor_, stream->created);
      caught_up_seq_ = stream->last_seq;
      // What is behind must be seen also of sessions that end in their first batch. Of another
      // incarnation sequences say nothing, until the cursor has followed.
      if (cursor_.is_none() || cursor_.incarnation == stream->created) note_stream(*stream);
      feed_.open(options_.stream, options_.source, from->seq);
      if (waited) board_.update([](ReadModelStatus& status) { status.begins(); });
      return true;
    }
    const auto& why = std::get<WaitForStream>(place).why;
    board_.update([&](ReadModelStatus& status) {
      if (status.state != ReadModelState::kWaiting || status.error != why)
        spdlog::warn("read model {} waits: {}", options_.name, why);
      status.waits(ReadModelState::kWaiting);
      status.error = why;
    });
    waited = true;
    (void)control_.wake.wait_for(std::min(kPoll, heartbeat_interval()));
    if (control_.stop_requested()) return false;
    target_.heartbeat();
  }
}

// The first message at or beyond the cursor's ordinal: ordinals rise with sequences.
std::optional<Found> ApplySession::search() {
  const auto stream = feed_.stream_info(options_.stream);
  if (!stream) return std::nullopt;
  std::uint64_t low = std::max<std::uint64_t>(stream->first_seq, 1);
  std::uint64_t high = stream->last_seq + 1;
  std::optional<Found> found;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    const auto message = feed_.message_from(options_.stream, middle, options_.source + ".>");
    if (!message) {
      high = middle;
      continue;
    }
    const Found here{message->seq, header_of(*message, options_.stream),
                     wire::hole_header(*message)};
    if (here.header.ordinal >= cursor_.ordinal) {
      found = here;
      high = middle;
    } else {
      low = here.seq + 1;
    }
  }
  return found;
}

// ---- Reading ----

void ApplySession::take_input() {
  feed_.take(arrived_, notices_);
  for (auto& event : arrived_) {
    auto step = chain_->accept(event.seq, event.place, event.hole);
    if (step && *step == Chain::Step::kApply && event.hole)
      spdlog::warn("read model {}: ordinals {} were given up by a repair of the source",
                   options_.name, event.hole->to_string());
    if (!step && step.error().kind == ErrorKind::kStreamGap) {
      // Before anybody is accused: is the message missing, or was it only not delivered?
      const auto next =
          feed_.message_from(options_.stream, chain_->end().seq + 1, options_.source + ".>");
      if (next && header_of(*next, options_.stream).ordinal == chain_->end().ordinal + 1)
        throw Failure(ErrorKind::kBrokerUnavailable,
                      "sequence " + std::to_string(next->seq) + " was not delivered");
      // Or has the stream's retention overtaken us?
      if (const auto stream = feed_.stream_info(options_.stream))
        (void)value_or_throw(place_in(chain_->end(), view_of(*stream)));
    }
    if (value_or_throw(std::move(step)) == Chain::Step::kSkip) {
      board_.update([](ReadModelStatus& status) { ++status.skipped_total; });
      continue;
    }
    auto whole = value_or_throw(row_parts_.add(std::move(event)));
    if (!whole) continue;
    pending_.bytes += whole->size();
    pending_.events.push_back(std::move(*whole));
    if (!chain_->in_transaction()) {
      pending_.sizes.push_back(pending_.events.size() - pending_.complete);
      pending_.ends.push_back(chain_->end());
      pending_.complete = pending_.events.size();
    }
  }
  for (const auto& text : notices_)
    if (auto notice = CoverageNotice::parse(text)) coverage_.on_notice(std::move(*notice));
  // The same event in another stream, or at another sequence: the cursor follows.
  const Cursor& end = chain_->end();
  if (end.ordinal == cursor_.ordinal && end.seq != 0 && !(end == cursor_)) {
    Target::Transaction tx(target_, cursor_, end);
    tx.settle();
    cursor_ = end;
    board_.update([&](ReadModelStatus& status) { status.cursor = cursor_; });
  }
}

// ---- Applying ----

void ApplySession::apply_pending() try {
  while (pending_.complete > 0) {
    const std::size_t may = open_ ? 1 : admitted(barrier_, pending_.ends);
    if (may == 0) return;
    if (skip_ || open_) {
      skip_ ? skip_piece() : apply_piece();
      continue;
    }
    std::size_t transactions = 0;
    std::size_t events = 0;
    std::size_t bytes = 0;
    const bool one_by_one = pending_.ends.front().ordinal <= one_by_one_until_;
    for (const std::size_t size : pending_.sizes) {
      std::size_t more = 0;
      for (std::size_t i = events; i < events + size; ++i) more += pending_.events[i].size();
      if (transactions == may) break;
      if (transactions > 0 && (one_by_one || events + size > options_.batch_events ||
                               bytes + more > options_.batch_bytes))
        break;
      ++transactions;
      events += size;
      bytes += more;
    }
    apply_batch(transactions, events);
    if (control_.stop_requested()) return;
  }
  const bool large = pending_.bytes >= 2 * options_.batch_bytes;
  if (large && (open_ || admits(barrier_, pending_.events.front().place.position)))
    skip_ ? skip_piece() : apply_piece();
} catch (const BarrierHit&) {
  // Nothing was done. The place is looked up, and the rest is cut there.
  last_barrier_look_ = now_ - kBarrierLook;
  look_at_barrier();
}

void ApplySession::apply_batch(std::size_t transactions, std::size_t events) try {
  note_attempt();
  const std::span<const ReceivedEvent> batch(pending_.events.data(), events);
  const Cursor to = pending_.ends[transactions - 1];
  std::string at;
  auto refusal = attempt(options_.name, at, [&] {
    POSTRIDER_FAILPOINT("apply.before_begin");
    Target::Transaction tx(target_, cursor_, to);
    POSTRIDER_FAILPOINT("apply.after_cursor");
    for (const auto& projection : projections_) {
      at = projection->name();
      projection->apply(tx.sql(), batch);
    }
    if (const auto notice = coverage_.reached(to)) tx.note_coverage(*notice);
    at = "commit";
    POSTRIDER_FAILPOINT("apply.before_commit");
    tx.commit();
    POSTRIDER_FAILPOINT("apply.after_commit");
  });
  last_statement_ = now_;
  if (refusal) {
    refusal->first_ordinal = batch.front().place.ordinal;
    refusal->last_ordinal = to.ordinal;
    refusal->position = batch.front().place.position.to_string();
    on_refusal(*refusal, transactions, events);
    return;
  }
  cursor_ = to;
  (void)coverage_.take_reached(to);
  drop_applied(transactions, events);
  board_.update([&](ReadModelStatus& status) {
    ++status.batches_total;
    status.events_total += events;
    status.transactions_total += transactions;
    status.cursor = cursor_;
    status.goes_on();
  });
} catch (const Failure& failure) {
  // What came before the halt is applied first: a person alters a table for what comes behind it,
  // and rows that name a column as it was called before could then not be written any more.
  if (failure.error().kind != ErrorKind::kReplicaTable || transactions == 1) throw;
  one_by_one_until_ = pending_.ends[transactions - 1].ordinal;
}

void ApplySession::drop_applied(std::size_t transactions, std::size_t events) {
  const auto count = static_cast<std::ptrdiff_t>(events);
  for (auto event = pending_.events.begin(); event != pending_.events.begin() + count; ++event)
    pending_.bytes -= event->size();
  pending_.events.erase(pending_.events.begin(), pending_.events.begin() + count);
  pending_.sizes.erase(pending_.sizes.begin(),
                       pending_.sizes.begin() + static_cast<std::ptrdiff_t>(transactions));
  pending_.ends.erase(pending_.ends.begin(),
                      pending_.ends.begin() + static_cast<std::ptrdiff_t>(transactions));
  pending_.complete -= std::min(pending_.complete, events);
  progressed_ = true;
}

// ---- What the board says ----

// It may take for ever, or fail in every session: what was pending before stays so.
void ApplySession::note_attempt() {
  board_.update([](ReadModelStatus& status) {
    if (!status.pending_since) status.pending_since = std::chrono::steady_clock::now();
  });
}

// Behind apply_pending() what is left, complete or large, is held back by verify. That is no
// trouble, but no proof either that an earlier session's trouble has passed.
void ApplySession::note_idle() {
  const bool held = pending_.complete > 0 || pending_.bytes >= 2 * options_.batch_bytes;
  if (!held && chain_->end().seq < caught_up_seq_) return;  // more is on its way
  board_.update([&](ReadModelStatus& status) {
    if (held && !status.error.empty())
      status.pending_since.reset();
    else
      status.goes_on();
  });
}

// The newest messages may have been deleted, by a repair of the source.
void ApplySession::note_end_of_stream() {
  if (chain_->end().seq >= caught_up_seq_) return;
  if (!feed_.message_from(options_.stream, chain_->end().seq + 1, options_.source + ".>"))
    caught_up_seq_ = chain_->end().seq;
}

// ---- Beside the events ----

void ApplySession::note_coverage() {
  if (open_) return;  // the connection is in a transaction that must not be seen yet
  if (const auto notice = coverage_.take_reached(cursor_)) {
    target_.note_coverage(*notice);
    last_statement_ = now_;
  }
}

void ApplySession::look_at_barrier() {
  if (open_) return;  // whoever wants to set one waits for our transaction
  if (!barrier_ && now_ - last_barrier_look_ < kBarrierLook) return;
  last_barrier_look_ = now_;
  last_statement_ = now_;
  auto found = target_.barrier();
  if (found == barrier_) return;
  if (!barrier_) {
    held_since_ = now_;
    spdlog::info("read model {}: held by verify at ordinal {}", options_.name, cursor_.ordinal);
  } else if (!found) {
    spdlog::info("read model {}: goes on at ordinal {} after {} ms", options_.name, cursor_.ordinal,
                 std::chrono::duration_cast<milliseconds>(now_ - held_since_).count());
  }
  barrier_ = std::move(found);
  barrier_reported_ = false;
}

void ApplySession::report_barrier_reached() {
  if (!barrier_ || barrier_reported_ || open_) return;
  const auto next = pending_.events.empty() ? std::nullopt
                                            : std::optional(pending_.events.front().place.position);
  if (!is_reached(*barrier_, next, coverage_.covered_timeline(), coverage_.covered())) return;
  target_.report_reached(*barrier_);
  barrier_reported_ = true;
  POSTRIDER_FAILPOINT("apply.after_barrier_reached");
}

void ApplySession::keep_time() {
  if (now_ - last_statement_ >= heartbeat_interval()) {
    if (open_)
      open_->heartbeat();
    else
      target_.heartbeat();
    last_statement_ = now_;
  }
  if (feed_.unanswered_for(kSilence))
    throw Failure(ErrorKind::kBrokerUnavailable,
                  "the broker does not answer requests for messages");
  if (now_ - last_look_ < kLook) return;
  last_look_ = now_;
  const auto stream = feed_.stream_info(options_.stream);
  if (!stream || stream->created != chain_->end().incarnation ||
      stream->last_seq < chain_->end().seq)
    throw Failure(
        ErrorKind::kBrokerUnavailable,
        "stream \"" + options_.stream + "\" is gone, another one, or shorter than it was");
  note_stream(*stream);
  if (std::exchange(looked_at_seq_, chain_->end().seq) == chain_->end().seq) {
    require_beginning();
    note_end_of_stream();
  }
}

// The beginning of a transaction whose rest does not come: the stream may have been cut off behind
// our back, and hold another history at the same sequences, as far as we have read. Where its
// source is idle nothing would ever follow.
void ApplySession::require_beginning() {
  if (!chain_->in_transaction()) return;
  const Cursor& end = chain_->end();
  const auto message = feed_.message(options_.stream, end.seq);
  if (message) {
    const auto header = header_of(*message, options_.stream);
    if (header.ordinal == end.ordinal && header.position == end.position &&
        header.fingerprint == end.fingerprint)
      return;
  }
  throw Failure(ErrorKind::kBrokerUnavailable, "stream \"" + options_.stream +
                                                   "\" no longer holds what was read at sequence " +
                                                   std::to_string(end.seq));
}

void ApplySession::note_stream(const wire::StreamInfo& stream) {
  const bool near = retention_is_near(stream);
  board_.update([&](ReadModelStatus& status) {
    if (near && !status.nears_stream_start)
      spdlog::error(
          "read model {}: the stream's retention will soon remove events that are not applied yet",
          options_.name);
    status.stream_first_seq = stream.first_seq;
    status.stream_last_seq = stream.last_seq;
    status.nears_stream_start = near;
  });
}

bool ApplySession::retention_is_near(const wire::StreamInfo& stream) {
  if (stream.last_seq <= cursor_.seq) return false;
  const auto now_us = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  const auto near = [&](std::int64_t commit_time_us) {
    return nears_removal(commit_time_us, now_us, stream.max_age, options_.retention_warning);
  };
  // What follows the cursor is younger than the cursor: mostly the broker need not be asked.
  if (!near(cursor_.fingerprint.commit_time_us)) return false;
  const auto next = feed_.message_from(options_.stream, cursor_.seq + 1, options_.source + ".>");
  return next && near(header_of(*next, options_.stream).fingerprint.commit_time_us);
}

}  // namespace postrider
