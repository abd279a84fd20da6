// The part of a session that deals with what a projection refuses, and with source transactions
// that are larger than memory.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/failpoint.h"
#include "readmodel/apply_session.h"
#include "readmodel/attempt.h"

namespace postrider {
namespace {

constexpr std::chrono::milliseconds kPoll{500};   // for a decision
constexpr std::chrono::milliseconds kLook{2000};  // at the stream meanwhile

Error poison(const std::string& readmodel, const Stop& stop, const char* verb) {
  return {ErrorKind::kPoisonEvent,
          "read model " + readmodel + " " + verb + " " + stop.position + " (ordinal " +
              std::to_string(stop.first_ordinal) + "): " + stop.projection + ": " + stop.error,
          "correct the projection or its tables and `postrider apply retry " + readmodel +
              "`, or `postrider apply skip " + readmodel + " --ordinal " +
              std::to_string(stop.first_ordinal) + "`"};
}

}  // namespace

bool ApplySession::await_decision() {
  std::chrono::steady_clock::time_point looked{};
  bool waited = false;
  while (auto stop = target_.stop()) {
    // What is applied next shows whether it helped. A skip that fails is found again by the next
    // session, which begins nothing new.
    if (!stop->decision.empty())
      board_.update([&](ReadModelStatus& status) {
        if (waited || status.state == ReadModelState::kStopped) status.begins();
      });
    if (stop->decision == "retry") {
      spdlog::info("read model {}: retrying at ordinal {}, ordered by {}", options_.name,
                   stop->first_ordinal, stop->decided_by);
      target_.clear_stop(*stop);
      return true;
    }
    if (stop->decision == "skip") {
      skip_ = std::move(stop);
      return true;
    }
    const Error error = poison(options_.name, *stop, "is stopped at");
    if (options_.until_caught_up) throw Failure(error);
    board_.update([&](ReadModelStatus& status) {
      status.waits(ReadModelState::kStopped);
      status.error = error.to_string();
      status.error_kind = info(error.kind).name;
    });
    if (std::chrono::steady_clock::now() - looked > kLook) {
      looked = std::chrono::steady_clock::now();
      look_while_stopped();
    }
    waited = true;
    (void)control_.wake.wait_for(std::min(kPoll, heartbeat_interval()));
    if (control_.stop_requested()) return false;
  }
  if (waited) board_.update([](ReadModelStatus& status) { status.begins(); });  // a rebuild's swap
  return true;
}

// The stream grows older while a person thinks: say so in time, and halt when it is too late.
void ApplySession::look_while_stopped() {
  const auto stream = feed_.stream_info(options_.stream);
  if (!stream || (!cursor_.is_none() && stream->created != cursor_.incarnation)) return;
  (void)value_or_throw(
      place_in(cursor_, StreamView{stream->created, stream->first_seq, stream->last_seq}));
  note_stream(*stream);
}

// Committed with its last event.
void ApplySession::apply_piece() {
  note_attempt();
  const Piece piece = next_piece();
  std::string at;
  auto refusal = attempt(options_.name, at, [&] {
    open_or_move(piece);
    for (const auto& projection : projections_) {
      at = projection->name();
      projection->apply(open_->sql(), piece.events);
    }
    POSTRIDER_FAILPOINT("apply.between_pieces");
    if (!piece.ends) return;
    at = "commit";
    open_->commit();
  });
  last_statement_ = now_;
  if (refusal) {
    open_.reset();
    // It cannot be parked either: it does not fit into memory.
    refusal->first_ordinal = open_first_ordinal_;
    if (piece.ends) refusal->last_ordinal = piece.to.ordinal;
    refusal->position = open_first_;
    target_.write_stop(*refusal, cursor_);
    throw Failure(poison(options_.name, *refusal, "refuses"));
  }
  finish_piece(piece);
  board_.update([&](ReadModelStatus& status) {
    status.events_total += piece.events.size();
    if (!piece.ends) return status.piece_applied(piece.to.ordinal);
    ++status.batches_total;
    ++status.transactions_total;
    status.cursor = cursor_;
    status.goes_on();
  });
}

// The transaction that a person has ordered to go on without; each piece of it leaves an audit row.
void ApplySession::skip_piece() {
  const auto first = pending_.events.front().place.ordinal;
  if (!open_ && first != skip_->first_ordinal) {
    spdlog::warn("read model {}: the order of {} to skip ordinal {} is void: ordinal {} comes next",
                 options_.name, skip_->decided_by, skip_->first_ordinal, first);
    target_.drop_stop();
    skip_.reset();
    return;
  }
  note_attempt();
  const Piece piece = next_piece();
  Stop part = *skip_;
  part.first_ordinal = first;
  part.last_ordinal = piece.to.ordinal;
  std::string at = "setting aside";
  auto refusal = attempt(options_.name, at, [&] {
    open_or_move(piece);
    open_->set_aside(part, piece.events, "skip");
    if (piece.ends) open_->commit();
  });
  last_statement_ = now_;
  if (refusal) {
    open_.reset();
    refusal->first_ordinal = skip_->first_ordinal;
    refusal->last_ordinal = skip_->last_ordinal;
    refusal->position = skip_->position;
    stop_undone(*refusal, "skipped");
  }
  if (piece.ends) {
    spdlog::warn("read model {}: skipped ordinals {} to {}, ordered by {}", options_.name,
                 skip_->first_ordinal, part.last_ordinal, skip_->decided_by);
    skip_.reset();
  }
  finish_piece(piece);
  board_.update([&](ReadModelStatus& status) {
    if (!piece.ends) return status.piece_applied(piece.to.ordinal);
    status.cursor = cursor_;
    status.goes_on();
  });
}

ApplySession::Piece ApplySession::next_piece() const {
  const bool ends = pending_.complete > 0;
  const std::size_t events = ends ? pending_.sizes.front() : pending_.events.size();
  return {{pending_.events.data(), events}, ends ? pending_.ends.front() : chain_->end(), ends};
}

void ApplySession::open_or_move(const Piece& piece) {
  if (!open_) {
    open_first_ordinal_ = piece.events.front().place.ordinal;
    open_first_ = piece.events.front().place.position.to_string();
    open_ = std::make_unique<Target::Transaction>(target_, cursor_, piece.to);
  } else {
    open_->move(open_end_, piece.to);
  }
  open_end_ = piece.to;
}

void ApplySession::finish_piece(const Piece& piece) {
  if (piece.ends) {
    open_.reset();
    cursor_ = piece.to;
  }
  drop_applied(piece.ends ? 1 : 0, piece.events.size());
}

void ApplySession::on_refusal(const Stop& refusal, std::size_t transactions, std::size_t events) {
  if (transactions > 1) {
    // Somewhere in the batch: the transactions before it are innocent, and so may be those behind.
    one_by_one_until_ = pending_.ends[transactions - 1].ordinal;
    return;
  }
  if (options_.on_poison == OnPoison::kPark && blames_event(refusal.sqlstate)) {
    park(refusal, events);
    return;
  }
  target_.write_stop(refusal, cursor_);
  throw Failure(poison(options_.name, refusal, "refuses"));
}

// What the database refuses to keep: without its audit row nothing is left out, and a person is
// told why instead of waiting for a database that is well.
void ApplySession::stop_undone(Stop& refusal, const char* done) {
  refusal.error = std::string("the transaction could not be ") + done + ": " + refusal.error;
  target_.write_stop(refusal, cursor_);
  throw Failure(poison(options_.name, refusal, "stops at"));
}

void ApplySession::park(const Stop& refusal, std::size_t events) {
  const Cursor to = pending_.ends.front();
  std::string at = "setting aside";
  auto again = attempt(options_.name, at, [&] {
    Target::Transaction tx(target_, cursor_, to);
    tx.set_aside(refusal, {pending_.events.data(), events}, "park");
    tx.commit();
  });
  if (again) {
    again->first_ordinal = refusal.first_ordinal;
    again->last_ordinal = refusal.last_ordinal;
    again->position = refusal.position;
    stop_undone(*again, "parked");
  }
  cursor_ = to;
  drop_applied(1, events);
  spdlog::error("read model {}: parked the transaction of ordinals {} to {}: {}: {}", options_.name,
                refusal.first_ordinal, refusal.last_ordinal, refusal.projection, refusal.error);
  board_.update([&](ReadModelStatus& status) {
    ++status.parked_total;
    status.cursor = cursor_;
    status.goes_on();
  });
}

}  // namespace postrider
