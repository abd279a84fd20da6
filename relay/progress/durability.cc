#include "relay/progress/durability.h"

#include <algorithm>

namespace postrider {
namespace {

constexpr int kEntriesPerDelay = 256;
constexpr std::chrono::milliseconds kMinGrain{10};

}  // namespace

Durability::Durability(std::chrono::milliseconds delay, const Mark& mark, Lsn confirmed,
                       SteadyTime now)
    : delay_(delay), grain_(std::max(delay / kEntriesPerDelay, kMinGrain)), confirmed_(confirmed) {
  entries_.push_back({{confirmed, mark}, now});
}

void Durability::on_published(Lsn commit_end, const Mark& mark, SteadyTime now) {
  // Only the newest ripe entry matters: older ones say less.
  while (entries_.size() >= 2 && is_ripe(entries_[1], now)) entries_.pop_front();
  // The newest entry is extended only within a grain of the one before it: else a steady load would
  // keep it from ever ripening.
  const std::size_t n = entries_.size();
  if (n >= 2 && now - entries_[n - 2].published < grain_) entries_.pop_back();
  entries_.push_back({{commit_end, mark}, now});
}

void Durability::on_recognised(const Mark& mark) {
  entries_.back().place.mark = mark;
}

void Durability::on_caught_up(Lsn end) {
  Lsn& newest = entries_.back().place.confirm_to;
  newest = std::max(newest, end);
}

std::optional<Confirmable> Durability::confirmable(SteadyTime now) const {
  const auto ripe = std::find_if(entries_.rbegin(), entries_.rend(),
                                 [&](const Entry& entry) { return is_ripe(entry, now); });
  if (ripe == entries_.rend() || ripe->place.confirm_to <= confirmed_) return std::nullopt;
  return ripe->place;
}

std::optional<SteadyTime> Durability::next_due() const {
  for (const auto& entry : entries_)
    if (entry.place.confirm_to > confirmed_) return entry.published + delay_;
  return std::nullopt;
}

void Durability::on_confirmed(Lsn lsn) {
  confirmed_ = std::max(confirmed_, lsn);
  // The newest entry stays: its time still holds back what a keepalive adds to it.
  while (entries_.size() >= 2 && entries_.front().place.confirm_to <= confirmed_)
    entries_.pop_front();
}

}  // namespace postrider
