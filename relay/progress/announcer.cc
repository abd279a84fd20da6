#include "relay/progress/announcer.h"

namespace postrider {

void Announcer::on_caught_up(Lsn end) {
  if (claim_ && end <= claim_->lsn) return;
  claim_ = Claim{end, newest_};
  announced_ = false;
}

std::optional<Announcer::Time> Announcer::next_due() const {
  if (!claim_) return std::nullopt;
  return last_ + (announced_ ? kRepeat : kInterval);
}

std::optional<Announcer::Claim> Announcer::take_due(Time now) {
  const auto due = next_due();
  if (!due || now < *due) return std::nullopt;
  last_ = now;
  announced_ = true;
  return claim_;
}

}  // namespace postrider
