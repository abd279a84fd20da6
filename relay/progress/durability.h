// When what was published may be confirmed to PostgreSQL. Pure: time comes in as an argument.
//
// An acknowledgement is not durability: JetStream acknowledges before fsync. So a commit waits here
// until it was published longer ago than the broker needs to sync (delay), or not at all when the
// broker syncs always (delay zero). Memory is bounded: commits published within one grain of time
// share one entry, which counts from the newest of them, so nothing is ever confirmed early.
#pragma once

#include <chrono>
#include <deque>
#include <optional>

#include "postrider/lsn.h"
#include "relay/progress/mark.h"

namespace postrider {

using SteadyTime = std::chrono::steady_clock::time_point;

// A commit end that may be confirmed, and the message that proves it.
struct Confirmable {
  Lsn confirm_to;  // the end of a commit, or how far the server has decoded with nothing left to
                   // publish
  Mark mark;       // the newest message at or before it
};

class Durability {
 public:
  // `mark` is the stream's newest message at session start; it counts as published at `now`, since
  // the broker may have restarted unseen. `confirmed` is what the slot was told already.
  Durability(std::chrono::milliseconds delay, const Mark& mark, Lsn confirmed, SteadyTime now);

  // A transaction whose last message is `mark` has been published whole.
  void on_published(Lsn commit_end, const Mark& mark, SteadyTime now);
  // The stream was found to hold `mark` all along, and nothing has been published since the
  // session's start.
  void on_recognised(const Mark& mark);
  // Everything received is published, and the server has decoded up to `end`: nothing carried lies
  // between.
  void on_caught_up(Lsn end);

  // The newest confirmable place not confirmed yet, if any.
  [[nodiscard]] std::optional<Confirmable> confirmable(SteadyTime now) const;
  // When the next entry becomes confirmable; nothing when none waits.
  [[nodiscard]] std::optional<SteadyTime> next_due() const;
  // `lsn` has been recorded in the checkpoint row and may be told to the slot. Never moves back.
  void on_confirmed(Lsn lsn);

  [[nodiscard]] Lsn confirmed() const { return confirmed_; }

 private:
  struct Entry {
    Confirmable place;
    SteadyTime published;
  };
  [[nodiscard]] bool is_ripe(const Entry& entry, SteadyTime now) const {
    return entry.published + delay_ <= now;
  }

  std::chrono::milliseconds delay_;
  std::chrono::milliseconds grain_;
  Lsn confirmed_;
  std::deque<Entry> entries_;  // never empty
};

}  // namespace postrider
