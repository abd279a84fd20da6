// How many rows the next chunk of a backfill has, and when it may begin. Pure: times come in as
// arguments.
//
// A chunk holds row locks for as long as it takes. It aims at kTarget, far below deadlock_timeout,
// and at kTargetBytes of WAL, so that what is behind it in the WAL waits only a moment. Doubles and
// halves: a chunk's time has a part that no size changes, so a size is not computed from it, and
// time alone never makes it smaller than kFloor.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace postrider {

class BackfillPace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  static constexpr std::chrono::milliseconds kTarget{100};
  static constexpr std::uint64_t kTargetBytes = 4UL * 1024 * 1024;
  static constexpr std::uint64_t kFirst = 200;
  static constexpr std::uint64_t kFloor = 100;
  static constexpr std::uint64_t kMost = 20'000;

  // `rows_per_second` bounds all workers together; nothing: no bound.
  explicit BackfillPace(std::optional<std::uint64_t> rows_per_second)
      : rows_per_second_(rows_per_second) {}

  // Rows of the next chunk: at least one.
  [[nodiscard]] std::uint64_t rows() const { return rows_; }

  // A chunk was carried at `now`; its rows were locked for `took`.
  void on_carried(std::uint64_t rows, std::uint64_t bytes, Duration took, Time now);
  // A chunk was given up: its rows were locked by others, or were too many.
  void on_busy();

  // The next chunk may begin then; the past: at once.
  [[nodiscard]] Time next() const { return next_; }

 private:
  std::optional<std::uint64_t> rows_per_second_;
  std::uint64_t rows_ = kFirst;
  Time next_;
};

}  // namespace postrider
