#include "relay/session.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/failpoint.h"
#include "relay/route/parts.h"

namespace postrider {
namespace {

// Frames handled before answers and timers get their turn again.
constexpr int kFramesPerTurn = 512;
// A server in fast shutdown answers each status with another request: replying slowly keeps that
// from becoming a flood. The lock connection ends within a moment and with it the session.
constexpr milliseconds kReplyInterval{50};
constexpr milliseconds kCatchUpStatusInterval{100};
constexpr milliseconds kMaxStatusInterval{3000};
constexpr milliseconds kLongestWait{1000};
// Between two looks at a full stream.
constexpr milliseconds kRoomInterval{1000};
// Shorter than this is what a stream that ages at its limit is like: no reason to be not ready.
constexpr milliseconds kFullForLong{5000};
// For the last confirmation's round trips, before a session ends for want of room.
constexpr milliseconds kConfirmSlack{5000};
// What idle confirmations ignore: less WAL than this is not worth a row.
constexpr std::uint64_t kIdleConfirmBytes = 64UL * 1024;
// And what makes them as frequent as under load: a WAL segment that could be removed.
constexpr std::uint64_t kIdleConfirmSoonBytes = 16UL * 1024 * 1024;

milliseconds confirm_delay(const RelayOptions& options) {
  if (options.confirm == ConfirmMode::kAcked) return milliseconds{0};
  return options.broker_sync_interval + options.confirm_margin;
}

Confirmer::Binding binding_of(const RelayOptions& options, const OpenSession& open, bool captures) {
  Confirmer::Binding binding;
  binding.source = options.source.name;
  binding.session = open.checkpoint.session;
  binding.stream = options.stream.name;
  binding.incarnation = open.stream.created;
  binding.publication = options.source.publication;
  binding.publication_version = open.checkpoint.publication_version;
  binding.captures = captures;
  binding.failover = open.slot_failover;
  binding.unreadable_up_to = open.start.tail_gone ? open.stream.last_seq : 0;
  return binding;
}

// Of an event of the outbox, a row whose headers alone are too long, or a row of an epoch that
// split later than this broker needs.
Failure too_large(const AssembledEvent& event, std::size_t bytes, std::size_t most) {
  const bool row = event.event->id.empty();
  return {
      ErrorKind::kTooLarge,
      (row ? std::string("the row change") : "event " + event.event->id) + " at " +
          event.position.to_string() + " needs " + std::to_string(bytes) +
          " bytes, the broker's max_payload is " + std::to_string(most),
      row ? "raise the broker's max_payload: this commit keeps the part size, " +
                std::to_string(event.epoch->settings.part_bytes) +
                " (0: not split), of its epoch (docs/operating.md, \"too large\")"
          : "raise the broker's max_payload, and lower outbox.settings.max_payload_bytes to fit "
            "it so that emit refuses such events"};
}

}  // namespace

Session::Session(const RelayOptions& options, OpenSession open, Control control, StatusBoard& board)
    : options_(options),
      control_(std::move(control)),
      board_(board),
      client_(std::move(open.client)),
      publisher_(std::move(open.publisher)),
      wal_(std::move(open.wal)),
      epochs_(std::move(open.epochs)),
      history_(std::move(open.history)),
      assembler_(history_, epochs_),
      resume_(open.start, history_.current()),
      window_(open.stream.last_seq, options.window_messages, options.window_bytes),
      room_(open.stream.max_bytes, open.stream.bytes),
      durability_(confirm_delay(options), open.start.mark,
                  std::max(open.slot_confirmed, open.checkpoint.confirm_to),
                  std::chrono::steady_clock::now()),
      announcer_(open.start.mark),
      confirmer_(std::move(open.source), *client_,
                 binding_of(options, open, epochs_.any_captures())),
      now_(std::chrono::steady_clock::now()),
      received_(open.slot_confirmed),
      caught_up_target_(open.flushed),
      published_(open.start.mark),
      last_answer_(now_),
      pending_since_(control_.pending_since),
      recovering_(pending_since_.has_value()),
      last_frame_(now_),
      last_status_(now_),
      last_confirmation_(now_),
      confirmed_mark_(open.checkpoint.mark) {
  notice_.system_id = open.checkpoint.system_id;
  notice_.timeline = history_.current();
  notice_.incarnation = open.stream.created;
  board_.update([&](RelayStatus& status) {
    status.session = open.checkpoint.session;
    status.incarnation = open.stream.created;
    status.epoch = epochs_.newest().number;
    ++status.sessions_total;
  });
}

void Session::run() {
  report();
  while (!finished()) {
    wait();
    now_ = std::chrono::steady_clock::now();
    // In order of priority: orders from outside, answers (they make room), WAL, time.
    if (!control_.still_owner())
      throw Failure(ErrorKind::kSessionFenced, "this relay no longer owns the source");
    if (control_.stop_requested()) phase_ = Phase::kDraining;
    take_answers();
    if (phase_ == Phase::kRunning) take_input();
    if (room_wanted_ && phase_ == Phase::kRunning && window_.empty()) renew_room();
    keep_time();
    report();
  }
}

bool Session::finished() const {
  if (phase_ == Phase::kDraining) return window_.empty();
  return options_.until_caught_up && caught_up();
}

bool Session::caught_up() const {
  return received_ >= caught_up_target_ && window_.empty() && between_transactions() &&
         resume_.done();
}

// The first message is sent alone: if it is refused, nothing behind it can have been stored.
bool Session::may_read() const {
  return phase_ == Phase::kRunning && !room_wanted_ && !publisher_->backed_up() &&
         !publisher_->awaits_batch() && (pipelined_ ? window_.has_room(0) : window_.empty());
}

// A batch goes on while each turn brings messages of it and more can be had at once, or while its
// broker will answer for a part of it and so make room: else it ends, and all of it is answered.
bool Session::batch_goes_on() {
  if (!may_read()) return publisher_->backed_up() || publisher_->answer_due();
  if (!unsent_) return false;
  if (input_left_) return true;
  pollfd wal{wal_->socket(), POLLIN, 0};
  if (::poll(&wal, 1, 0) <= 0) return false;
  socket_readable_ = input_left_ = true;
  return true;
}

void Session::wait() {
  if (publisher_->in_batch() && !batch_goes_on()) {
    publisher_->end_batch();
    unsent_ = true;
  }
  if (std::exchange(unsent_, false)) {
    publisher_->flush();
    POSTRIDER_FAILPOINT("publish.after_flush");
  }
  if (input_left_ && may_read()) return;
  std::array<pollfd, 5> entries{{{control_.wake.fd(), POLLIN, 0},
                                 {wal_->socket(), 0, 0},
                                 {publisher_->fd(), POLLIN, 0},
                                 {client_->errors_fd(), POLLIN, 0},
                                 {confirmer_.fd(), POLLIN, 0}}};
  auto& wal = entries[1];
  if (may_read()) wal.events |= POLLIN;
  if (wal_->wants_write()) wal.events |= POLLOUT;
  if (publisher_->backed_up()) entries[2].events |= POLLOUT;
  const auto longest = std::min({kLongestWait, options_.ack_timeout / 4, until_announcement(),
                                 status_owed_ ? kReplyInterval : kLongestWait,
                                 options_.until_caught_up ? kCatchUpStatusInterval : kLongestWait});
  ::poll(entries.data(), entries.size(), static_cast<int>(longest.count()));
  if (entries[0].revents != 0) control_.wake.clear();
  if ((wal.revents & POLLOUT) != 0) wal_->flush();
  // A dead connection is reported even when nothing was asked for: left alone, it would make this
  // loop spin until the window has room.
  if (wal.events == 0 && wal.revents != 0) wal_->consume_input();
  socket_readable_ = (wal.revents & (POLLIN | POLLERR | POLLHUP)) != 0;
}

// Rounded up, as poll() counts: never a turn before its time.
milliseconds Session::until_announcement() const {
  const auto due = announcer_.next_due();
  if (!due || !options_.announce || phase_ != Phase::kRunning) return kLongestWait;
  return std::chrono::ceil<milliseconds>(
      std::max(*due - std::chrono::steady_clock::now(), Announcer::Time::duration::zero()));
}

void Session::take_answers() {
  publisher_->take_answers(answers_);
  if (answers_.empty()) client_->throw_if_broken();
  // Read again behind them: where the process stood still before, they would else count as
  // published long ago, and be confirmed before the broker has synced them.
  now_ = std::chrono::steady_clock::now();
  for (const auto& ack : answers_) {
    POSTRIDER_FAILPOINT("ack.before_handle");
    if (auto taken = window_.acknowledge(ack); !taken) throw Failure(std::move(taken.error()));
  }
  while (auto sent = window_.take_published()) {
    published_ = sent->mark;
    pipelined_ = true;
    last_answer_ = now_;
    note_progress();
    ++events_;
    bytes_ += sent->bytes;
    if (sent->commit_end) {
      ++transactions_;
      durability_.on_published(*sent->commit_end, sent->mark, now_);
      if (control_.backfills != nullptr) control_.backfills->on_published(*sent->commit_end);
    }
    POSTRIDER_FAILPOINT("ack.after_handle");
  }
  if (!answers_.empty()) note_quiescence();
}

void Session::take_input() {
  for (int frames = 0; frames < kFramesPerTurn && may_read(); ++frames) {
    if (take_change()) continue;  // it views the frame before the next one
    auto frame = wal_->next_frame();
    if (!frame) {
      input_left_ = false;
      if (!std::exchange(socket_readable_, false)) return;
      wal_->consume_input();
      frame = wal_->next_frame();
      if (!frame) return;
    }
    input_left_ = true;
    last_frame_ = now_;
    std::visit([this](const auto& f) { handle(f); }, *frame);
  }
}

void Session::handle(const wire::Keepalive& keepalive) {
  if (keepalive.reply_requested) status_owed_ = true;
  if (!between_transactions()) return;
  if (auto fits = resume_.on_caught_up(keepalive.end); !fits)
    throw Failure(std::move(fits.error()));
  received_ = std::max(received_, keepalive.end);
  told_ = std::max(told_, keepalive.end);
  if (control_.backfills != nullptr) control_.backfills->on_handled(received_);
  if (resume_.done()) announcer_.on_caught_up(keepalive.end);
  note_quiescence();
}

void Session::handle(const wire::XLogData& data) {
  const auto decoded = wire::decode_pgoutput(data.payload);
  if (!decoded)
    throw Failure(
        decoded.error().kind, decoded.error().context + ", received after " + received_.to_string(),
        "report it with `pg_recvlogical` output of a copy of the slot; nothing was confirmed");
  if (const auto* truncate = std::get_if<wire::Truncate>(&*decoded)) {
    truncate_left_ = *truncate;
    std::ranges::reverse(truncate_left_.oids);
    return;
  }
  if (const auto* logical = std::get_if<wire::LogicalMessage>(&*decoded);
      logical != nullptr && logical->transactional && assembler_.carries_backfill() &&
      logical->prefix == wire::kBackfillMessagePrefix) {
    if (auto opened = backfill_reader_.open(*logical); !opened)
      throw Failure(std::move(opened.error()));
    backfill_left_ = backfill_reader_.kind() != wire::BackfillKind::kStart;
    if (backfill_left_) return;
    if (control_.backfills != nullptr) control_.backfills->on_started();
  }
  handle(*decoded);
}

bool Session::take_change() {
  if (left_) {
    last_frame_ = now_;  // nothing is read meanwhile: no silence of the walsender's
    publish_next();
    return true;
  }
  if (!truncate_left_.oids.empty()) {
    const auto oid = truncate_left_.oids.back();
    truncate_left_.oids.pop_back();
    handle(wire::Truncate{{oid}, truncate_left_.cascade, truncate_left_.restart_identity});
    return true;
  }
  if (!backfill_left_) return false;
  const auto change = value_or_throw(backfill_reader_.next());
  backfill_left_ = change.has_value();
  if (change) handle(value_or_throw(assembler_.feed(*change)));
  return true;
}

void Session::handle(const wire::PgOutputMessage& message) {
  handle(value_or_throw(assembler_.feed(message)));
}

// Once a process, however many sessions meet it.
void Session::warn_of(const wire::Relation& unmatched) {
  auto name = std::string(unmatched.schema) + "." + std::string(unmatched.name);
  board_.update([&](RelayStatus& status) {
    const auto [table, first] = status.unmatched_tables.insert(std::move(name));
    if (first)
      spdlog::warn(
          "changes of {} are not carried: it is published, and no [[capture]] names it. If it was "
          "renamed, name it there, run `postrider migrate up`, start the relay again, and then "
          "`postrider backfill start --replace`",
          *table);
  });
}

void Session::handle(const Step& step) {
  if (step.unmatched != nullptr) warn_of(*step.unmatched);
  if (step.moved && control_.backfills != nullptr) control_.backfills->on_moved(xid_, *step.moved);
  if (step.begin) {
    xid_ = step.begin->fingerprint.xid;
    if (auto fits = resume_.on_begin(step.begin->commit_lsn, step.begin->fingerprint); !fits)
      throw Failure(std::move(fits.error()));
  }
  if (step.end && control_.backfills != nullptr) control_.backfills->on_moved_all();
  if (!step.event) {
    if (step.end) handle(*step.end, false);
    return;
  }
  const auto parts = value_or_throw(part_count(*step.event));
  left_ = Left{*step.event, parts, message_count(*step.event, parts), 0, step.end};
  publish_next();
}

// What the stream holds already costs no room.
void Session::publish_next() {
  auto& left = *left_;
  bool sent = false;
  while (!sent && left.next < left.count) {
    const bool ends = left.next + 1 == left.count;
    const auto message = message_of(left.event, left.next, left.parts);
    if (left.next > 0) POSTRIDER_FAILPOINT("publish.between_parts");
    sent = publish(message, ends && left.end ? std::optional(left.end->end_lsn) : std::nullopt);
    if (room_wanted_) return;
    ++left.next;
  }
  if (left.next < left.count) return;
  const auto end = left.end;
  left_.reset();
  if (end) handle(*end, sent);
}

// What has aged out since the count began makes room that nobody tells us of. With nothing in
// flight the stream's own count lacks nothing that the broker may yet store, so ours stays too high
// rather than too low.
void Session::renew_room() {
  if (full_since_ && now_ - last_room_look_ < kRoomInterval) return;
  last_room_look_ = now_;
  const auto stream = client_->stream_info(options_.stream.name);
  if (!stream || stream->created != notice_.incarnation ||
      stream->last_seq != window_.expected_last())
    throw Failure(ErrorKind::kPublishInDoubt,
                  "the stream, asked for its room, is not as it was acknowledged");
  room_ = StreamRoom(stream->max_bytes, stream->bytes);
  if (room_.fits(message_.size())) {
    room_wanted_ = false;
    full_since_.reset();
    last_frame_ = now_;  // nothing was read meanwhile: no silence of the walsender's
    return;
  }
  const Error full = no_room();
  if (!full_since_) {
    full_since_ = now_;
    if (!std::exchange(full_said_, true)) spdlog::warn("waiting: {}", full.to_string());
  }
  if (!pending_since_) pending_since_ = now_;  // answers in between have cleared it
  // A session that ends begins the age of all that is not confirmed anew, so that a stream which
  // stays full would never have anything confirmed: first let all that it published ripen.
  if (now_ - *full_since_ > confirm_delay(options_) + options_.confirm_interval + kConfirmSlack)
    throw Failure(full);
}

Error Session::no_room() const {
  return {ErrorKind::kBrokerRefuses,
          "the stream has no room for ordinal " + std::to_string(*assigned_) + " within max_bytes",
          ""};
}

bool Session::between_transactions() const {
  return !assembler_.in_transaction() && !left_;
}

bool Session::publish(const AssembledEvent& event, std::optional<Lsn> commit_end) {
  const auto ordinal = assigned_ ? std::exchange(assigned_, std::nullopt)
                                 : value_or_throw(resume_.on_event(
                                       event.position, event.fingerprint, event.epoch->number));
  if (!ordinal) {
    announcer_.on_assigned(resume_.mark());
    return false;
  }
  if (auto encoded = encode(event, *ordinal, message_); !encoded)
    throw Failure(std::move(encoded.error()));
  if (message_.size() > client_->max_payload())
    throw too_large(event, message_.size(), client_->max_payload());
  // Before it is known whether there is room: what does not fit is waited for, too.
  if (!pending_since_) pending_since_ = now_;
  if (!room_.take(message_.size())) {
    room_wanted_ = true;
    assigned_ = ordinal;
    return false;
  }
  if (event.position.index > 0) POSTRIDER_FAILPOINT("publish.mid_transaction");
  POSTRIDER_FAILPOINT("publish.before_send");
  if (window_.empty()) last_answer_ = now_;
  const std::uint64_t expected_last = window_.expected_last();
  const Mark mark{0, *ordinal, event.position, event.fingerprint, event.epoch->number};
  announcer_.on_assigned(mark);
  window_.push({.mark = mark, .bytes = message_.size(), .commit_end = commit_end});
  // From here until its answer we do not know whether the broker stores it.
  publisher_->publish(message_, options_.stream.name, expected_last);
  unsent_ = true;
  POSTRIDER_FAILPOINT("publish.after_send");
  return true;
}

void Session::handle(const TransactionEnd& end, bool event_sent) {
  if (auto fits = resume_.on_commit(end.commit_lsn); !fits) throw Failure(std::move(fits.error()));
  received_ = std::max(received_, end.end_lsn);
  if (control_.backfills != nullptr) control_.backfills->on_handled(received_);
  if (event_sent) return;
  // What was recognised as published is as old as the session: it ripens with the mark.
  if (window_.empty() && resume_.dropped() > 0 && resume_.mark().ordinal > published_.ordinal) {
    published_ = resume_.mark();
    durability_.on_recognised(published_);
  }
  note_quiescence();
}

void Session::note_progress() {
  pending_since_.reset();
  if (!window_.empty()) pending_since_ = now_;
  recovering_ = false;
}

// With nothing in flight and no transaction open, all that was received is published.
void Session::note_quiescence() {
  if (!window_.empty() || !between_transactions() || !resume_.done()) return;
  durability_.on_caught_up(received_);
  if (control_.backfills != nullptr) control_.backfills->on_published(received_);
  if (received_ < caught_up_target_) return;
  was_idle_ = true;
  if (recovering_) note_progress();  // nothing is left to wait for
}

void Session::keep_time() {
  announce_if_due();
  send_status_if_due();
  confirm_if_due();
  check_stall();
  if ((!window_.empty() || publisher_->awaits_batch()) &&
      now_ - last_answer_ > options_.ack_timeout)
    throw Failure(ErrorKind::kPublishInDoubt,
                  "no acknowledgement for " + std::to_string(options_.ack_timeout.count()) +
                      " ms with " + std::to_string(window_.messages()) + " messages in flight");
}

// Core NATS, beside the stream: nobody acknowledges it, and losing one costs a reader at most the
// time to the next.
void Session::announce_if_due() {
  if (!options_.announce || phase_ != Phase::kRunning) return;
  const auto claim = announcer_.take_due(now_);
  if (!claim) return;
  notice_.lsn = claim->lsn;
  notice_.ordinal = claim->newest.ordinal;
  notice_.position = claim->newest.position;
  notice_.epoch = claim->newest.epoch;
  publisher_->announce(coverage_subject(options_.source.name), notice_.to_string());
  unsent_ = true;
}

// A caught-up walsender says so before it sleeps, but only while we are known to be behind it. So a
// report that overtakes its keepalive would silence it until something new is written: then we ask.
void Session::send_status(bool request_reply) {
  wal_->send_status(received_, durability_.confirmed(), request_reply || received_ > told_);
  last_status_ = now_;
}

void Session::send_status_if_due() {
  const auto interval = options_.until_caught_up
                            ? kCatchUpStatusInterval
                            : std::min(kMaxStatusInterval, options_.wal_sender_timeout / 3);
  const auto since = now_ - last_status_;
  if (since < interval && !(status_owed_ && since >= kReplyInterval)) return;
  // An idle walsender is silent for long: asking for a reply tells a quiet source from a dead one.
  send_status(/*request_reply=*/since >= interval);
  status_owed_ = false;
}

void Session::confirm_if_due() {
  if (const auto result = confirmer_.take_result()) {
    durability_.on_confirmed(result->confirm_to);
    confirmed_mark_ = result->mark;
    // Others may have written beside it: of that much WAL, at most what one row can need is ours.
    own_wal_end_ = std::min(result->wal_end, Lsn{result->confirm_to.value + kIdleConfirmBytes});
    ++confirmations_;
    confirmed_some_ = true;
    POSTRIDER_FAILPOINT("confirm.before_status");
    send_status(/*request_reply=*/false);
    POSTRIDER_FAILPOINT("confirm.after_status");
  }
  if (confirmer_.busy()) return;
  const auto place = durability_.confirmable(now_);
  if (!place) return;
  const bool carried = place->mark.ordinal != confirmed_mark_.ordinal;
  const std::uint64_t idle_bytes =
      place->confirm_to.value -
      std::min(place->confirm_to.value, std::max(own_wal_end_, durability_.confirmed()).value);
  if (!carried && idle_bytes < kIdleConfirmBytes) return;
  const auto interval = carried || idle_bytes >= kIdleConfirmSoonBytes
                            ? options_.confirm_interval
                            : options_.idle_confirm_interval;
  if (now_ - last_confirmation_ < interval) return;
  last_confirmation_ = now_;
  confirmer_.submit(*place);
}

void Session::check_stall() {
  std::string stall;
  if (pending_since_ && now_ - *pending_since_ > options_.stall_after)
    stall = full_since_ ? no_room().context : "the broker does not acknowledge";
  else if (may_read() && now_ - last_frame_ > options_.stall_after)
    stall = "the walsender does not answer";
  board_.update([&](RelayStatus& status) {
    if (!stall.empty() && !status.stalled) spdlog::error("stalled: {}", stall);
    status.stalled = !stall.empty();
    status.stall = std::move(stall);
  });
}

void Session::report() {
  board_.update([&](RelayStatus& status) {
    // A broker that answers and does not acknowledge lets sessions start, one after another: red
    // stays red, with its reason, until something moves.
    const bool full = full_since_ && now_ - *full_since_ > kFullForLong;
    if (phase_ == Phase::kDraining)
      status.state = RelayState::kDraining;
    else if (full)
      status.state = RelayState::kWaiting;
    else if (!recovering_)
      status.state = RelayState::kRunning;
    if (full) {
      status.error = no_room().context;
      status.error_kind = info(ErrorKind::kBrokerRefuses).name;
    } else if (!recovering_) {
      status.error.clear();
      status.error_kind.clear();
    }
    status.received = received_;
    status.published = published_;
    status.confirmed = durability_.confirmed();
    status.in_flight = window_.messages();
    status.in_flight_bytes = window_.bytes();
    status.events_total += std::exchange(events_, 0);
    status.bytes_total += std::exchange(bytes_, 0);
    status.transactions_total += std::exchange(transactions_, 0);
    status.confirmations_total += std::exchange(confirmations_, 0);
    status.recognised_total += resume_.dropped() - std::exchange(recognised_, resume_.dropped());
    status.ignored_changes_total +=
        assembler_.ignored_changes() - std::exchange(ignored_, assembler_.ignored_changes());
    status.last_commit_time_us = published_.fingerprint.commit_time_us;
  });
}

}  // namespace postrider
