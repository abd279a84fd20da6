#include "readmodel/jetstream/pull_requests.h"

#include <algorithm>

namespace postrider {
namespace {

// After an answer that was on its way when the request expired.
constexpr auto kForgotten = PullRequests::kExpires + std::chrono::seconds{2};

}  // namespace

void PullRequests::on_sent(std::uint64_t messages, Time now) {
  ++newest_;
  under_way_ += messages;
  sent_ = now;
  brought_ = answered_ = next_is_large_ = false;
  if (!silent_since_) silent_since_ = now;
}

void PullRequests::on_message(Time now) {
  if (under_way_ > 0) --under_way_;
  brought_ = answered_ = true;
  note_time(now);
}

void PullRequests::on_end(std::uint64_t number, RequestEnd how,
                          std::optional<std::uint64_t> pending, Time now) {
  under_way_ -= std::min(under_way_, pending.value_or(under_way_));
  if (number == newest_) {
    answered_ = true;
    // All of its bytes were there for the message.
    if (how == RequestEnd::kTooSmall && !brought_) next_is_large_ = true;
  }
  note_time(now);
}

void PullRequests::on_time(Time now) {
  if (under_way_ == 0 || now - sent_ < kForgotten) return;
  under_way_ = 0;
  if (answered_) silent_since_.reset();  // else it may be lost: that silence goes on
}

void PullRequests::note_time(Time now) {
  if (under_way_ == 0)
    silent_since_.reset();
  else
    silent_since_ = now;
}

}  // namespace postrider
