#include "daemon/verify/stream_scan.h"

#include <openssl/sha.h>
#include <poll.h>

#include <algorithm>
#include <limits>

#include "relay/route/cloud_events.h"
#include "relay/session_start.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kConnectTimeout{5'000};
constexpr milliseconds kLook{200};        // nothing came: is it the end?
constexpr milliseconds kSilence{30'000};  // there is more, and nothing comes

Digest digest_of(std::string_view subject, const std::string& payload) {
  std::string text;
  text.reserve(subject.size() + payload.size() + 1);
  text += subject;
  text += '\n';
  text += payload;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
  Digest digest;
  std::copy_n(hash.begin(), digest.size(), digest.begin());
  return digest;
}

}  // namespace

StreamScan::StreamScan(const RelayOptions& options, StreamFindings& findings)
    : options_(options),
      findings_(findings),
      feed_(options.nats, "postrider verify", kConnectTimeout,
            coverage_subject(options.source.name)),
      chain_(findings) {
  feed_.keep_foreign();
}

void StreamScan::open() {
  const auto stream = feed_.stream_info(options_.stream.name);
  if (!stream) return;
  const auto first = std::max<std::uint64_t>(stream->first_seq, 1);
  keeps_front_ = keeps_front(*stream);
  lost_front_ = lost_front(*stream);
  // All gone by age: whatever is not there may have been.
  if (stream->messages == 0 && stream->last_seq > 0 && !lost_front_)
    horizon_us_ = std::numeric_limits<std::int64_t>::max();
  seq_ = first - 1;
  feed_.open(options_.stream.name, options_.source.name, first);
  open_ = true;
}

// As a relay's session judges it, and a repair. Where the row says nothing of this stream, its
// settings alone do.
bool StreamScan::lost_front(const wire::StreamInfo& stream) const {
  if (stream.created != durable_incarnation_) return stream.max_age.count() == 0;
  return postrider::lost_front(stream, durable_seq_);
}

bool StreamScan::is_at_end() {
  return !feed_.message_from(options_.stream.name, seq_ + 1, ">");
}

bool StreamScan::read_to_end() {
  take_arrived();  // notices come also where nothing is published, and where there is no stream
  if (!open_) open();
  if (!open_) return false;
  const auto stream = feed_.stream_info(options_.stream.name);
  if (!stream) return false;
  auto heard = Clock::now();
  while (seq_ < stream->last_seq) {
    feed_.ask_for_more();
    wait(kLook);
    take_arrived();
    const auto now = Clock::now();
    if (!arrived_.empty()) {
      heard = now;
      continue;
    }
    if (is_at_end()) return true;
    if (now - heard > kSilence)
      throw Failure(
          ErrorKind::kBrokerUnavailable,
          "the stream has more, but nothing comes after sequence " + std::to_string(seq_));
  }
  return true;
}

void StreamScan::take_arrived() {
  feed_.take(arrived_, notices_);
  for (const auto& text : notices_)
    if (auto notice = CoverageNotice::parse(text)) notice_ = std::move(notice);
  for (const auto& event : arrived_) take(event);
}

void StreamScan::wait(milliseconds longest) {
  pollfd entry{feed_.fd(), POLLIN, 0};
  ::poll(&entry, 1, static_cast<int>(longest.count()));
}

// Before anybody is accused of a gap: was a message not delivered, or has it aged out meanwhile?
void StreamScan::excuse_gap(const ReceivedEvent& event) {
  const auto stream = feed_.stream_info(options_.stream.name);
  if (!keeps_front_ && (!stream || stream->first_seq >= event.seq)) {
    chain_.forget();
    horizon_us_ = event.place.fingerprint.commit_time_us;
    return;
  }
  constexpr std::uint64_t kMost = 100;
  for (auto seq = seq_ + 1; seq < event.seq && seq <= seq_ + kMost; ++seq)
    if (feed_.message(options_.stream.name, seq))
      throw Failure(ErrorKind::kBrokerUnavailable,
                    "sequence " + std::to_string(seq) + " was not delivered");
}

void StreamScan::take(const ReceivedEvent& event) {
  if (event.seq <= seq_)
    throw Failure(ErrorKind::kBrokerUnavailable, "sequence " + std::to_string(event.seq) +
                                                     " was delivered behind sequence " +
                                                     std::to_string(seq_));
  if (observer_) observer_(event);
  if (event.place.ordinal == 0) {
    findings_.add(StreamFault::kForeign, "sequence " + std::to_string(event.seq) + " on " +
                                             event.subject +
                                             " is not a message of this source's relay");
    seq_ = event.seq;
    return;
  }
  if (messages_++ == 0) {
    first_ordinal_ = event.hole ? event.hole->first : event.place.ordinal;
    if (first_ordinal_ > 1 && lost_front_)
      findings_.add(StreamFault::kGap,
                    "the stream begins with ordinal " + std::to_string(first_ordinal_) +
                        ", although its max_age is 0: what stood before it did not age out");
    else if (first_ordinal_ > 1)
      horizon_us_ = event.place.fingerprint.commit_time_us;
  }
  if (chain_.would_gap(event.place, event.hole)) excuse_gap(event);
  chain_.accept(event.seq, event.place, event.hole);
  seq_ = event.seq;
  // A row change has no row in the outbox; the chain above holds it to its place. (An event that
  // had lost its id would be missed by the join.)
  if (event.id.empty()) {
    ++row_changes_;
    return;
  }
  const auto id = parse_digest(event.id);
  if (!id && !options_.outboxes.empty()) {
    ++row_changes_;  // the id is another tool's, and so is the table of its row
    return;
  }
  if (!id) {
    findings_.add(StreamFault::kForeign,
                  "sequence " + std::to_string(event.seq) + " has an unreadable Postrider-Id");
    return;
  }
  const std::string_view subject =
      std::string_view(event.subject).substr(options_.source.name.size() + 1);
  StoredEvent stored{};
  stored.id = *id;
  // relay.format may have been another one for a part of the stream: the message says by itself.
  const auto inside = event.content_type == kCloudEventsJson
                          ? structured_payload(event.payload, event.id, options_.source.name)
                          : std::nullopt;
  stored.content = digest_of(subject, inside ? *inside : event.payload);
  stored.ordinal = event.place.ordinal;
  stored.xid = event.place.fingerprint.xid;
  events_.add(partition_of(*id), stored);
}

bool StreamScan::has_passed(std::uint32_t timeline, Lsn place) const {
  const auto& last = chain_.last();
  const auto wanted = std::tie(timeline, place);
  if (last && std::tie(last->position.timeline, last->position.commit_lsn) >= wanted) return true;
  return notice_ && std::tie(notice_->timeline, notice_->lsn) >= wanted &&
         (last ? last->ordinal : 0) >= notice_->ordinal;
}

}  // namespace postrider
