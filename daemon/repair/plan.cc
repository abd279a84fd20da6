#include "daemon/repair/plan.h"

#include <algorithm>

namespace postrider {
namespace {

// The newest ordinal that is still good. Where no message can be read, the row's sequence and
// ordinal tell what the stream's last sequence must have held: they rise together.
std::uint64_t good_ordinal(const Checkpoint& row, const StreamContent& stream) {
  if (stream.kept_seq != 0) return stream.kept_ordinal;
  if (stream.lost_front) return 0;
  if (stream.first_ordinal != 0) return stream.first_ordinal - 1;  // gone by age
  if (!stream.exists || !stream.same_incarnation) return 0;
  const auto& mark = row.mark;
  if (stream.last_seq >= mark.seq) return mark.ordinal + (stream.last_seq - mark.seq);
  const std::uint64_t missing = mark.seq - stream.last_seq;
  return mark.ordinal > missing ? mark.ordinal - missing : 0;
}

}  // namespace

RepairPlan plan_repair(const Checkpoint& row, const StreamContent& stream,
                       const std::optional<BegunRepair>& begun,
                       const std::optional<OrdinalRange>& pending) {
  RepairPlan plan;
  plan.last_seq = stream.last_seq;
  std::uint64_t good = good_ordinal(row, stream);
  // Messages that were counted and cannot be read any more may have had ordinals, too. Those that a
  // repair has deleted since it began are in its plan already.
  std::uint64_t used = std::max(row.mark.ordinal, stream.highest_ordinal);
  if (!begun) used += stream.gone_behind;
  used = std::max({good, used, begun ? begun->used : 0});
  if (begun) good = std::min(good, begun->good);
  // Nothing that could declare it was published since.
  if (pending && !row.mark.names_message() && row.mark.ordinal == pending->last &&
      stream.highest_ordinal <= pending->last)
    good = std::min(good, pending->first - 1);
  plan.good = good;
  plan.keep_seq = stream.last_seq;
  if (stream.behind > 0)
    plan.keep_seq =
        stream.kept_seq != 0 ? stream.kept_seq : std::max<std::uint64_t>(stream.first_seq, 1) - 1;
  plan.next_ordinal = used + 1;
  if (good < used) plan.hole = OrdinalRange{good + 1, used};
  return plan;
}

}  // namespace postrider
