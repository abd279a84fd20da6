// What a plan's actions do to the world.
#include <algorithm>
#include <utility>

#include "tests/simulator/world.h"

namespace postrider::sim {

void World::commit(const Action& action) {
  if (!postgres.up) return;
  for (std::uint64_t i = 0; i < action.a; ++i) {
    std::vector<Change> changes;
    const std::uint64_t count = random_.between(0, action.b);
    for (std::uint64_t j = 0; j < count; ++j) {
      Change change;
      change.number = next_number_++;
      const auto kind = random_.below(12);
      if (kind < 6)
        change.kind = Change::Kind::kOutboxRow;
      else if (kind < 8)
        change.kind =
            postgres.row().wal_store ? Change::Kind::kOutboxMessage : Change::Kind::kOutboxRow;
      else if (kind == 8)
        change.kind =
            random_.one_in(2) ? Change::Kind::kForeignMessage : Change::Kind::kStrayMessage;
      else
        change.kind = static_cast<Change::Kind>(static_cast<int>(Change::Kind::kInsert) +
                                                static_cast<int>(kind - 9));
      changes.push_back(change);
    }
    postgres.commit(std::move(changes), !random_.one_in(5), random_);
  }
}

// Where a crash that keeps all that is durable cuts the stream off.
std::uint64_t World::survivors() {
  if (!broker.stream()) return 0;
  const std::uint64_t least = broker.durable_seq();
  const std::uint64_t most = broker.stream()->last_seq();
  const std::uint64_t keep = random_.one_in(3) ? least : random_.between(least, most);
  lost_ += most - keep;
  return keep;
}

bool World::any_foreign() const {
  return std::ranges::any_of(plan_.actions, [](const Action& action) {
    return action.kind == Action::Kind::kForeignPublish;
  });
}

void World::fault_of_broker(const Action& action) {
  using Kind = Action::Kind;
  const auto& connections = broker.connections();
  auto* const connection =
      connections.empty() ? nullptr : connections[random_.below(connections.size())].get();
  switch (action.kind) {
    case Kind::kLoseAnswers:
      for (auto n = action.a; connection != nullptr && n > 0 && !connection->answers.empty(); --n)
        connection->answers.erase(
            connection->answers.begin() +
            static_cast<std::ptrdiff_t>(random_.below(connection->answers.size())));
      return;
    case Kind::kDoubleAnswer:
      if (connection != nullptr && !connection->answers.empty())
        connection->answers.push_back(connection->answers.front());
      return;
    case Kind::kSwapAnswers:
      if (connection != nullptr && connection->answers.size() > 1)
        std::swap(connection->answers.front(), connection->answers.back());
      return;
    case Kind::kDropConnection:
      if (connection != nullptr) broker.disconnect(*connection);
      return;
    case Kind::kDeleteStream:
      // Only a young stream may be lost without a halt: all the others are kDestroy's.
      if (fated_ || !postgres.row().mark.is_none() || broker.durable_seq() != 0) return;
      oracle.on_deleted();
      broker.delete_stream();
      return;
    case Kind::kExpire:
      if (!may_remove()) return;
      if (broker.stream() && broker.stream()->last_seq() > 0)
        broker.expire(random_.one_in(2) ? broker.stream()->last_seq()
                                        : random_.between(1, broker.stream()->last_seq()));
      return;
    case Kind::kRemoveTail:
      if (!may_remove()) return;
      if (broker.stream()) broker.remove(broker.stream()->last_seq());
      return;
    default:
      return;
  }
}

void World::act(const Action& action) {
  using Kind = Action::Kind;
  random_ = Random(action.seed);
  switch (action.kind) {
    case Kind::kRun:
      if (!broker.up && random_.one_in(2)) broker.up = true;
      if (!postgres.up && random_.one_in(2)) postgres.up = true;
      return run_steps(action.a, action.b);
    case Kind::kCommit:
      return commit(action);
    case Kind::kWriteWal:
      if (postgres.up) postgres.write_wal(action.a);
      return;
    case Kind::kPause:
      now += milliseconds(action.a);
      return;
    case Kind::kKillRelay:
      end_relay(*relays_[action.a], action.b == 1);
      relays_[action.a]->halted.reset();
      return;
    case Kind::kStopRelay:
      relays_[action.a]->stop = true;
      return;
    case Kind::kTakeOver:
      relays_[action.a]->take_over = true;
      return;
    case Kind::kConfigure: {
      Settings settings;
      settings.message_id = random_.one_in(2);
      settings.wal_store = wanted_.wal_store || random_.one_in(2);
      settings.captures = random_.one_in(2);
      settings.cloud_events = random_.one_in(4);
      settings.part_bytes = settings.captures && random_.one_in(2) ? random_.between(40, 200) : 0;
      wanted_ = settings;
      return;
    }
    case Kind::kBrokerCrash: {
      const bool young = broker.stream() && broker.durable_seq() == 0 &&
                         broker.stream()->created_at + broker.sync_interval > now;
      return broker.crash(survivors(), young && random_.one_in(2));
    }
    case Kind::kBrokerElects:
      // An acknowledged tail cut off behind a living connection, with a foreign message in its
      // place at once, is seen by readers alone: docs/reliability.md.
      if (broker.up && broker.stream())
        broker.elect(any_foreign() ? broker.stream()->last_seq() : survivors());
      return;
    case Kind::kBrokerSyncs:
      return broker.sync();
    case Kind::kBrokerDies:
      if (broker.stream()) broker.crash(broker.stream()->last_seq(), false);
      return;
    case Kind::kFalseDuplicates:
      broker.false_duplicates = static_cast<int>(action.a);
      return;
    case Kind::kRefusals:
      broker.refusals = static_cast<int>(action.a);
      return;
    case Kind::kStaleReads:
      if (!fated_) broker.stale_by = action.a;
      return;
    case Kind::kPostgresCrash:
      return postgres.crash();
    case Kind::kPostgresSaves:
      return postgres.save_slot();
    case Kind::kDropWalsender:
      if (auto* holder = postgres.slot_holder()) postgres.terminate(holder->pid);
      return;
    case Kind::kDestroy:
    case Kind::kBackUp:
    case Kind::kRestore:
    case Kind::kPromote:
    case Kind::kOtherSystem:
    case Kind::kDropSlot:
    case Kind::kInvalidateSlot:
    case Kind::kNewPublication:
    case Kind::kForeignPublish:
      return fate(action);
    default:
      return fault_of_broker(action);
  }
}

}  // namespace postrider::sim
