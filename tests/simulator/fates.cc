// What moves the world back: the server's history, its slot, the stream.
#include <algorithm>

#include "tests/simulator/world.h"

namespace postrider::sim {

// A message that is gone before a relay has seen it cannot be judged, where it is not certain to be
// the relay's own: docs/guarantees.md.
bool World::may_remove() const {
  return !fated_ || oracle.destroyed();
}

// What a row knows nothing of, and the stream no longer shows, nobody can judge: only a fork with a
// mark to go by is seen.
bool World::unseen(const Checkpoint& row) const {
  if (!broker.stream()) return false;
  const std::uint64_t known = row.mark.is_none() ? 0 : row.mark.seq;
  return std::ranges::any_of(broker.stream()->messages, [&](const Stored& stored) {
    return stored.gone && stored.seq > known;
  });
}

void World::destroy() {
  const auto durable = broker.durable_seq();
  if (!broker.stream() || durable == 0) return;
  oracle.on_destruction();
  if (random_.one_in(2))
    broker.crash(random_.below(durable), random_.one_in(3));
  else
    broker.elect(random_.below(durable));
}

// That takes longer than any process or packet of before lasts.
void World::restore(bool with_slot) {
  if (!backup_ || unseen(backup_->row)) return;
  for (auto& relay : relays_) end_relay(*relay, false);
  for (const auto& connection : broker.connections()) {
    broker.disconnect(*connection);
    connection->sent.clear();
  }
  postgres.restore(*backup_, with_slot);
  oracle.on_history_changed();
}

void World::promote(bool with_slot, bool whole) {
  Lsn fork = postgres.flushed();
  const auto& wal = postgres.wal();
  if (!whole && !wal.empty()) {
    const std::size_t lost = random_.between(1, std::min<std::size_t>(wal.size(), 4));
    const Lsn first_lost = wal[wal.size() - lost].commit_lsn;
    const Lsn before =
        lost == wal.size() ? Lsn{first_lost.value - 40} : wal[wal.size() - lost - 1].end_lsn;
    fork = std::min(fork, Lsn{random_.between(before.value, first_lost.value)});
  }
  const auto& rows = postgres.disk().rows;
  const auto later = std::ranges::upper_bound(rows, fork, {}, &std::pair<Lsn, Checkpoint>::first);
  const Checkpoint& row = later == rows.begin() ? rows.front().second : std::prev(later)->second;
  if (row.mark.is_none() && unseen(row)) return;
  postgres.promote(fork, with_slot);
  oracle.on_history_changed();
}

void World::publish_foreign(bool copy) {
  if (!broker.up || !broker.stream()) return;
  Publish message;
  message.subject = "src.orders.1";
  message.headers = "NATS/1.0\r\n\r\n";
  message.payload = "{}";
  if (copy) {
    const auto& messages = broker.stream()->messages;
    if (messages.empty()) return;
    message = messages[random_.below(messages.size())].message;
  }
  oracle.on_foreign();
  broker.publish_foreign(message);
}

void World::fate(const Action& action) {
  using Kind = Action::Kind;
  if (action.kind == Kind::kBackUp) {
    if (postgres.up) backup_ = postgres.disk();
    return;
  }
  fated_ = true;
  // None lags so far behind.
  broker.stale_by = 0;
  for (const auto& connection : broker.connections()) connection->stale_last.reset();
  switch (action.kind) {
    case Kind::kDestroy:
      return destroy();
    case Kind::kRestore:
      return restore(action.a != 0);
    case Kind::kPromote:
      return promote(action.a != 0, action.b == 0);
    case Kind::kOtherSystem:
      return postgres.become_another_system();
    case Kind::kDropSlot:
      return action.a == 0 ? postgres.recreate_slot() : postgres.drop_slot();
    case Kind::kInvalidateSlot:
      return postgres.invalidate_slot();
    case Kind::kNewPublication:
      return postgres.make_publication_anew();
    case Kind::kForeignPublish:
      return publish_foreign(action.a == 0);
    default:
      return;
  }
}

}  // namespace postrider::sim
