// What happens in a run, written down before it: a list of actions that a seed makes, each with a
// seed of its own for the choices inside it. So an action can be left out and the others stay what
// they are; that is how a failing run is made shorter.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/simulator/oracle.h"

namespace postrider::sim {

struct Action {
  enum class Kind : std::uint8_t {
    kRun,           // `a`: relays as bits; `b`: steps
    kCommit,        // `a` transactions of up to `b` changes
    kWriteWal,      // `a` bytes of no concern
    kPause,         // everybody for `a` ms
    kKillRelay,     // `a`: which; `b`: 1: its walsender lives on for a while
    kStopRelay,     // `a`: which: asked to stop, starts again
    kTakeOver,      // `a` may end the owner
    kConfigure,     // the next process of any relay runs with other settings
    kBrokerCrash,   // power loss: loses a part of what was not synced
    kBrokerElects,  // a new leader without a part of what was not synced
    kBrokerSyncs,
    kBrokerDies,      // kill: down, loses nothing
    kDropConnection,  // of the relay `a`
    kLoseAnswers,
    kDoubleAnswer,
    kSwapAnswers,
    kFalseDuplicates,
    kRefusals,
    kStaleReads,
    kDeleteStream,
    kExpire,
    kRemoveTail,
    kPostgresCrash,
    kPostgresSaves,  // its slot
    kDropWalsender,
    kDestroy,  // the broker loses durable messages, against the operator's word
    // What only a person can have done, or must set right: one a plan.
    kBackUp,          // of PostgreSQL's disk
    kRestore,         // it; `a`: 0: without the slot
    kPromote,         // a standby; `a`: 0: without the slot; `b`: 0: it has replayed everything
    kOtherSystem,     // answers at the address
    kDropSlot,        // and `a`: 0: somebody makes it anew
    kInvalidateSlot,  // its WAL is removed
    kNewPublication,  // dropped and made anew
    kForeignPublish,  // `a`: 0: a message of the stream once more
  };
  Kind kind = Kind::kRun;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::uint64_t seed = 0;

  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] bool is_fault() const;
};

struct Plan {
  Settings settings;  // at first
  std::size_t window = 16;
  std::uint64_t tick_ms = 5;  // a step takes up to that long
  bool duplicates_first = true;
  bool fast_ingest = false;
  std::chrono::milliseconds duplicate_window{300};
  std::chrono::milliseconds idle_confirm_interval{1000};
  std::vector<Action> actions;
  bool appliers = false;  // two, of one read model
  std::uint64_t applier_seed = 0;
  std::size_t batch_events = 0;
  std::size_t batch_bytes = 0;
};

[[nodiscard]] Plan make_plan(std::uint64_t seed);

}  // namespace postrider::sim
