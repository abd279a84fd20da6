#include "daemon/replay/replay.h"

#include <algorithm>
#include <thread>

#include "base/failpoint.h"
#include "readmodel/subject_pattern.h"
#include "relay/route/subject.h"

namespace postrider {
namespace {

using Clock = std::chrono::steady_clock;

constexpr milliseconds kConnectTimeout{2000};
constexpr milliseconds kPatience{30'000};
constexpr milliseconds kPause{250};
// Messages read, then published, at a time.
constexpr std::uint64_t kMostInChunk = 500;
constexpr std::size_t kChunkBytes = 32UL * 1024 * 1024;

[[noreturn]] void refuse(const std::string& what, const std::string& remedy) {
  throw Failure(ErrorKind::kConfiguration, what, remedy);
}

std::string range_text(const ReplayOptions& options) {
  return options.from + ".." + options.until + (options.filter.empty() ? "" : " " + options.filter);
}

void require_other_place(const RelayOptions& relay, const StreamOptions& target,
                         const std::string& prefix) {
  if (target.name == relay.stream.name)
    refuse("--to " + target.name + " is the source's own stream",
           "a message that comes again breaks the stream's chain: name another stream");
  if (target.name.empty() || target.name.find_first_of(" \t\r\n.*>/\\") != std::string::npos)
    refuse("--to \"" + target.name + "\" is no name of a stream", "use letters, digits, - and _");
  if (!is_valid_event_subject(prefix))
    refuse("--prefix \"" + prefix + "\" is no subject",
           "use tokens of letters, digits, - and _ between dots");
  const std::string own = relay.source.name + ".";
  if ((prefix + ".").starts_with(own))
    refuse("--prefix " + prefix + " lies below the source's own subjects, " + own + ">",
           "name another, such as replay." + relay.source.name);
  if ((prefix + ".").starts_with("POSTRIDER."))
    refuse("--prefix " + prefix + " is kept for the relay's notices", "name another");
}

}  // namespace

Replay::Replay(const RelayOptions& relay, const ReplayOptions& options)
    : relay_(relay),
      range_{value_or_throw(parse_replay_place(options.from, "--from")),
             value_or_throw(parse_replay_place(options.until, "--until")), options.filter},
      identity_{relay.source.name, relay.stream.name,
                options.prefix.empty() ? options.to_stream : options.prefix, range_text(options)},
      dry_run_(options.dry_run) {
  target_.name = options.to_stream;
  target_.replicas = relay.stream.replicas;
  target_.duplicate_window = relay.stream.duplicate_window;
  target_.fast_ingest = false;  // copies have ids
  if (!range_.filter.empty() && !is_valid_pattern(range_.filter))
    refuse("--filter " + range_.filter + " is no subject pattern",
           "as NATS has them: tokens between dots, * for one, > at the end for the rest");
  require_other_place(relay, target_, identity_.prefix);
}

ReplayResult Replay::run(const std::atomic<bool>& stop) {
  auto progress = Clock::now();
  while (true) {
    try {
      JetStreamClient client(relay_.nats, "postrider replay", kConnectTimeout);
      publisher_ =
          std::make_unique<Publisher>(relay_.nats, "postrider replay publisher", kConnectTimeout);
      open(client);
      bool more = true;
      while (more && !stop) {
        more = carry(client);
        progress = Clock::now();
      }
      result_.complete = !more;
      return result_;
    } catch (const Failure& failure) {
      const bool retry = info(failure.error().kind).disposition == Disposition::kRetry;
      if (!retry || !begun_ || Clock::now() - progress > kPatience) throw;
      if (stop) return result_;
    }
    in_flight_ = 0;
    std::this_thread::sleep_for(kPause);
  }
}

// Where to begin, from both streams: at the first run, and after each failure.
void Replay::open(JetStreamClient& client) {
  const auto source = client.stream_info(relay_.stream.name);
  if (!source)
    throw Failure(ErrorKind::kStreamSettings,
                  "stream \"" + relay_.stream.name + "\" does not exist",
                  "there is nothing to replay");
  if (begun_ && source->created != incarnation_)
    throw Failure(ErrorKind::kStreamSettings,
                  "stream \"" + relay_.stream.name + "\" was made anew meanwhile",
                  "run the same command again");
  incarnation_ = source->created;
  if (!begun_) end_ = source->last_seq;
  next_ = std::max<std::uint64_t>(source->first_seq, 1);
  before_.reset();
  read_target(client);
  if (!done_) require_start(client);
  next_ = start_of(client);
  before_seq_ = next_ - 1;
  begun_ = true;
}

// What the stream has forgotten cannot be replayed, and must not be left out in silence.
void Replay::require_start(JetStreamClient& client) const {
  const auto first = client.message_from(relay_.stream.name, 1, relay_.source.name + ".>");
  const auto header = first ? wire::position_header(*first) : std::nullopt;
  if (header && range_.begins_before(*header, first->seq))
    throw Failure(ErrorKind::kStreamBehind,
                  "the stream begins with ordinal " + std::to_string(header->ordinal) +
                      ", sequence " + std::to_string(first->seq) + ", position " +
                      header->position.to_string() + ", which is after --from",
                  "--from start replays what is left");
}

void Replay::read_target(JetStreamClient& client) {
  auto stream = client.stream_info(target_.name);
  const auto known = target_seq_;
  done_.reset();
  target_seq_ = 0;
  if (!stream) {
    if (dry_run_) return;
    stream = client.create_stream(target_, identity_.prefix + ".>");
    POSTRIDER_FAILPOINT("replay.after_create");
  }
  for (const auto& problem : wire::review_settings(*stream, identity_.prefix + ".>"))
    if (problem.fatal)
      throw Failure(ErrorKind::kStreamSettings,
                    "stream \"" + stream->name + "\": " + problem.setting + " " + problem.what,
                    "a replay needs a stream of its own: let it make one, by another --to");
  target_seq_ = stream->last_seq;
  if (target_seq_ == 0) return;
  const auto newest = client.message(target_.name, target_seq_);
  const auto mark = newest ? wire::find_header(newest->headers, kReplayHeader) : std::nullopt;
  const auto place = newest ? wire::position_header(*newest) : std::nullopt;
  if (!newest || !mark || !place || !is_same_replay(identity_, *mark))
    throw Failure(ErrorKind::kStreamSettings,
                  "stream \"" + target_.name + "\" " +
                      (!newest ? "has lost its newest message"
                       : mark  ? "holds another replay: " + std::string(*mark)
                               : "holds messages that are no replay"),
                  "give each replay a stream of its own; delete one that is no longer needed");
  done_ = place;
  if (!begun_)
    result_.there_already = stream->messages;
  else if (target_seq_ > known)
    result_.taken += target_seq_ - known;  // stored, and the answer was lost
}

// The first message behind the one that the target ends with, or of the range.
std::uint64_t Replay::start_of(JetStreamClient& client) const {
  std::uint64_t low = next_;
  std::uint64_t high = end_ + 1;  // everything from here on is to be read
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    const auto message = client.message_from(relay_.stream.name, middle, relay_.source.name + ".>");
    if (!message || message->seq >= high) {
      high = middle;
      continue;
    }
    const auto header = wire::position_header(*message);
    const bool skip = header && (done_ ? header->position <= done_->position
                                       : range_.is_before_start(*header, message->seq));
    (skip ? low : high) = skip ? message->seq + 1 : middle;
  }
  return low;
}

bool Replay::carry(JetStreamClient& client) {
  if (next_ > end_) return false;
  POSTRIDER_FAILPOINT("replay.before_read");
  const auto most = std::clamp<std::uint64_t>(kChunkBytes / client.max_payload(), 1, kMostInChunk);
  const std::uint64_t last = std::min(end_, next_ + most - 1);
  std::map<std::uint64_t, wire::StoredMessage> chunk;
  client.for_each_message(relay_.stream.name, next_, last,
                          [&](const wire::StoredMessage& m) { chunk.emplace(m.seq, m); });
  bool more = true;
  for (auto& [seq, message] : chunk)
    if (more) more = take(message, client);
  await_answers();
  next_ = last + 1;
  if (more && next_ > end_) require_end(client);
  return more && next_ <= end_;
}

// Messages that aged out just before they were read leave no gap behind them at the end.
void Replay::require_end(JetStreamClient& client) const {
  if (before_seq_ == end_) return;
  const auto stream = client.stream_info(relay_.stream.name);
  if (stream && stream->first_seq > before_seq_ + 1)
    throw Failure(
        ErrorKind::kStreamBehind,
        "the stream no longer holds what followed sequence " + std::to_string(before_seq_),
        "what is left of the range is in the target");
}

// False when it lies behind the range.
bool Replay::take(wire::StoredMessage& message, JetStreamClient& client) {
  const auto header = wire::position_header(message);
  const std::string own = relay_.source.name + ".";
  if (!header || !message.subject.starts_with(own))
    throw Failure(ErrorKind::kForeignMessage,
                  "sequence " + std::to_string(message.seq) + " on " + message.subject +
                      " is not a message of this source's relay",
                  "see docs/operating.md, \"foreign message\"");
  if (range_.is_past_end(*header, message.seq)) return false;
  require_unbroken(client, *header);
  before_ = header;
  before_seq_ = message.seq;
  if (range_.contains(*header, message.seq, std::string_view(message.subject).substr(own.size())))
    publish(message, *header, client);
  return true;
}

void Replay::publish(wire::StoredMessage& message, const PositionHeader& place,
                     JetStreamClient& client) {
  if (!result_.first_ordinal) result_.first_ordinal = place.ordinal;
  result_.last_ordinal = place.ordinal;
  if (dry_run_) {
    ++result_.taken;
    result_.bytes += message.data.size();
    return;
  }
  copy_for_replay(identity_, message, place, message_);
  if (message_.size() > client.max_payload())
    throw Failure(ErrorKind::kTooLarge,
                  "ordinal " + std::to_string(place.ordinal) + " has " +
                      std::to_string(message_.size()) + " bytes with the replay's header",
                  "raise the broker's max_payload, or give a shorter --prefix");
  if (publisher_->backed_up()) await_answers();
  POSTRIDER_FAILPOINT("replay.before_publish");
  // From here until its answer we do not know whether the broker stores it.
  publisher_->publish(message_, target_.name, target_seq_ + in_flight_);
  POSTRIDER_FAILPOINT("replay.after_publish");
  ++in_flight_;
}

// What ages out while it is read must be missed, before the first message too. A hole that is
// declared, or an operator's, is only counted.
void Replay::require_unbroken(JetStreamClient& client, const PositionHeader& header) {
  if (!before_ && !done_) return require_start(client);
  const std::uint64_t wanted = (before_ ? before_ : done_)->ordinal + 1;
  if (header.ordinal <= wanted) return;
  const auto first = client.message_from(relay_.stream.name, 1, relay_.source.name + ".>");
  const auto oldest = first ? wire::position_header(*first) : std::nullopt;
  if (!oldest || oldest->ordinal >= header.ordinal ||
      (before_ && oldest->ordinal > before_->ordinal))
    throw Failure(ErrorKind::kStreamBehind,
                  "the stream no longer holds ordinals " + std::to_string(wanted) + " to " +
                      std::to_string((oldest ? oldest : header)->ordinal - 1),
                  "--from start replays what is left, into another stream");
  result_.voids += header.ordinal - wanted;
}

void Replay::await_answers() {
  const auto deadline = Clock::now() + relay_.ack_timeout;
  std::vector<wire::PubAck> answers;
  while (in_flight_ > 0) {
    publisher_->await_answers(answers, deadline);
    if (answers.empty()) throw Failure(ErrorKind::kPublishInDoubt, "no acknowledgement in time");
    for (const auto& answer : answers) {
      if (answer.outcome != wire::PubAck::Outcome::kStored || answer.seq != target_seq_ + 1)
        throw Failure(answer.outcome == wire::PubAck::Outcome::kRefused
                          ? ErrorKind::kBrokerRefuses
                          : ErrorKind::kPublishInDoubt,
                      "stream \"" + target_.name + "\" did not store sequence " +
                          std::to_string(target_seq_ + 1) + ": " + answer.description);
      ++target_seq_;
      --in_flight_;
      ++result_.taken;
    }
  }
}

}  // namespace postrider
