#include "daemon/repair/stream_history.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace postrider {

StreamHistory::StreamHistory(SourceFacts source, StreamContent stream)
    : source_(std::move(source)), content_(stream) {}

void StreamHistory::take(const ReceivedEvent& event) {
  if (event.seq > content_.last_seq) return;  // published meanwhile
  const auto& place = event.place;
  content_.highest_ordinal = std::max(content_.highest_ordinal, place.ordinal);
  highest_epoch_ = std::max(highest_epoch_, place.epoch);
  newest_seq_ = event.seq;
  if (!oldest_us_ && place.ordinal != 0) oldest_us_ = place.fingerprint.commit_time_us;
  if (content_.first_ordinal == 0) begin_with(event);
  is_over_ = is_over_ || content_.lost_front || place.ordinal == 0 || !is_commit_of_source(place) ||
             !follows(event);
  if (!is_over_) take_history(place, !event.id.empty());
  if (is_over_ || !is_kept(place.ordinal)) {
    voided_.push_back({event.seq, place.ordinal,
                       place.ordinal == 0 ? "" : place.position.to_string(), event.subject,
                       event.id});
    return;
  }
  ++torn_;
  if (!place.last) return;
  torn_ = 0;
  content_.kept_seq = event.seq;
  content_.kept_ordinal = place.ordinal;
  newest_kept_us_ = place.fingerprint.commit_time_us;
}

void StreamHistory::end() {
  content_.behind = voided_.size() + torn_;
  const auto read = std::max(newest_seq_, content_.same_incarnation ? source_.durable.seq : 0);
  content_.gone_behind = content_.last_seq - std::min(read, content_.last_seq);
}

// What is gone before the first message has aged out, or somebody removed it, or the broker has
// lost it.
void StreamHistory::begin_with(const ReceivedEvent& event) {
  content_.first_ordinal = event.hole ? event.hole->first : event.place.ordinal;
  content_.lost_front = source_.lost_front;
  if (content_.lost_front)
    gap_ = "what stood before ordinal " + std::to_string(content_.first_ordinal);
  else if (content_.first_ordinal > 1)
    gone_until_us_ = event.place.fingerprint.commit_time_us;
}

void StreamHistory::take_history(const PositionHeader& place, bool has_id) {
  previous_ = place;
  const bool behind = place.ordinal > source_.durable.ordinal;
  if (!has_id && behind && !row_change_) row_change_ = place.ordinal;
  if (!place.last) return;
  newest_ = place.ordinal;
  if (behind) ends_.push_back(place.ordinal);
}

// Under settings that it knows: an epoch that the row lacks was opened by a relay of the server
// before a promotion. The row forgets older ones only as far as its mark.
bool StreamHistory::is_commit_of_source(const PositionHeader& place) const {
  const auto& given_up = source_.given_up;
  if (!source_.timelines.contains(place.position.timeline, place.position.commit_lsn) ||
      place.position.commit_lsn > source_.flushed)
    return false;
  if (given_up && place.ordinal >= given_up->first && place.ordinal <= given_up->last) return false;
  return place.ordinal <= source_.durable.ordinal ||
         std::ranges::find(source_.epochs, place.epoch) != source_.epochs.end();
}

// What a relay can have written behind the message before. Messages before the durable one that
// somebody removed were published all the same: rows from before them are not sent again. Behind
// it the broker has lost them, and what follows would come before what is sent again.
bool StreamHistory::follows(const ReceivedEvent& event) {
  if (!previous_) return true;
  const auto& place = event.place;
  if (place.ordinal <= previous_->ordinal || place.position <= previous_->position ||
      place.epoch < previous_->epoch)
    return false;
  const bool declared = event.hole && event.hole->lies_between(previous_->ordinal, place.ordinal);
  if (place.ordinal == previous_->ordinal + 1 || declared) return true;
  if (place.ordinal - 1 > source_.durable.ordinal) {
    gap_ = "ordinals " + std::to_string(previous_->ordinal + 1) + " to " +
           std::to_string(place.ordinal - 1);
    return false;
  }
  if (is_kept(place.ordinal)) gone_until_us_ = place.fingerprint.commit_time_us;
  return true;
}

bool StreamHistory::is_kept(std::uint64_t ordinal) const {
  return voided_.empty() && (!source_.void_after || ordinal <= *source_.void_after);
}

std::optional<std::uint64_t> StreamHistory::newest_sure(
    std::optional<std::uint64_t> unproven) const {
  if (unproven) {
    const auto end = std::ranges::lower_bound(ends_, *unproven);
    return end == ends_.begin() ? source_.durable.ordinal : *std::prev(end);
  }
  if (newest_) return newest_;
  if (content_.first_ordinal == 0) return std::nullopt;
  return content_.lost_front ? 0 : content_.first_ordinal - 1;
}

std::int64_t StreamHistory::newest_published_us() const {
  if (!content_.same_incarnation) return newest_kept_us_;
  return std::max(source_.durable.fingerprint.commit_time_us, newest_kept_us_);
}

}  // namespace postrider
