// Up to where a read model may be applied while `postrider verify` holds it. Pure.
//
// A barrier stands at a place of the source's WAL: transactions whose commit record starts before
// it are applied, all others wait. While verify does not know the place yet, nothing is applied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "postrider/position.h"
#include "readmodel/progress/cursor.h"

namespace postrider {

struct Barrier {
  std::string holder;          // tells one verify from another
  std::uint32_t timeline = 0;  // of `lsn`
  Lsn lsn;                     // exclusive; none: not known yet, nothing may be applied

  friend bool operator==(const Barrier&, const Barrier&) = default;
};

// True when a transaction that committed there may be applied. No barrier admits everything.
[[nodiscard]] bool admits(const std::optional<Barrier>& barrier, const Position& commit);

// How many of the transactions that end at `ends`, in the order of the stream, may be applied.
[[nodiscard]] std::size_t admitted(const std::optional<Barrier>& barrier,
                                   const std::deque<Cursor>& ends);

// True when nothing that the barrier admits can follow what is applied. Shown by `next`, the first
// event that is not applied, if it is known: the stream's positions rise. Or by what the relay
// said: every commit before `covered` of `covered_timeline` is applied.
[[nodiscard]] bool is_reached(const Barrier& barrier, const std::optional<Position>& next,
                              std::uint32_t covered_timeline, Lsn covered);

}  // namespace postrider
