// Builds a read model anew from the stream's start, beside the live one, and swaps when it has
// caught up. Another process goes on applying the live one meanwhile, and afterwards the new one.
//
// Killed at any point and run again it goes on where it was. One thread runs it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

#include "base/wake.h"
#include "readmodel/apply_session.h"
#include "readmodel/options.h"
#include "readmodel/postgres/swap.h"

namespace postrider {

struct RebuildProgress {
  std::uint64_t ordinal = 0;       // applied
  std::uint64_t last_ordinal = 0;  // of the stream's newest message when last looked at
  double events_per_second = 0;    // since the report before
};

class Rebuild {
 public:
  // `report` is called about once a second while events are applied.
  Rebuild(ReadModelOptions live, const Projections& projections,
          std::function<void(const RebuildProgress&)> report);

  struct Outcome {
    bool swapped = false;  // false: asked to stop; the next run goes on
    bool applied_by_somebody = false;
    std::uint64_t ordinal = 0;
  };
  // Blocks. What heals by itself is retried with backoff; throws Failure for what only a person can
  // resolve, and for a server that is away or another rebuild that runs when it starts.
  [[nodiscard]] Outcome run();

  // From any thread or a signal handler.
  void request_stop() noexcept;

 private:
  // True when it is done or asked to stop.
  [[nodiscard]] bool run_session();
  void own(Target& target);
  void begin(Target& target);
  void require_stream_start(StreamFeed& feed) const;
  // Applies what is in the stream now, or as much as `longest` allows.
  void catch_up(Target& target, std::chrono::milliseconds longest);
  [[nodiscard]] bool try_swap(Target& target);
  // Whether somebody applies the read model; one that did before the swap is waited for a moment.
  [[nodiscard]] bool applier_returns(Target& target);
  void tell(std::uint64_t ordinal);

  const ReadModelOptions live_;
  const ReadModelOptions anew_;
  const Projections projections_;
  const std::function<void(const RebuildProgress&)> report_;
  ReadModelBoard board_;
  Wake wake_;
  std::atomic<bool> stop_{false};

  Outcome outcome_;
  bool owned_ = false;
  bool was_applied_ = false;     // by somebody, before the swap
  std::int64_t generation_ = 0;  // of the live tables when it began
  RebuildProgress told_;
  std::chrono::steady_clock::time_point told_at_;
  std::string obstacle_;  // logged once
};

}  // namespace postrider
