// Keeps one read model: session after session, until told to stop. One thread runs it.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "base/wake.h"
#include "readmodel/apply_session.h"
#include "readmodel/options.h"
#include "readmodel/status.h"

namespace postrider {

class Applier {
 public:
  Applier(ReadModelOptions options, Projections projections);
  Applier(const Applier&) = delete;
  Applier& operator=(const Applier&) = delete;

  // Blocks until request_stop(), or with until_caught_up until everything in the stream is applied.
  // What heals by itself is retried with backoff and jitter; throws Failure for what only a person
  // can resolve, with status() saying so. A stop by a poison event is waited out, unless
  // until_caught_up.
  void run();

  // From any thread or a signal handler; asking twice is asking once. What is being applied is
  // rolled back and read again next time.
  void request_stop() noexcept;

  // As it is at `now`. From any thread.
  [[nodiscard]] ReadModelStatus status(
      ReadModelStatus::Time now = std::chrono::steady_clock::now()) const;

 private:
  // True when the applier is done; false when another session should follow.
  bool run_session();
  // Waits for the lock; false when asked to stop meanwhile.
  [[nodiscard]] bool own(Target& target);
  void note_failure(const Error& error);
  void back_off();

  const ReadModelOptions options_;
  const Projections projections_;
  ReadModelBoard board_;
  Wake wake_;
  std::atomic<bool> stop_{false};
  int failures_in_a_row_ = 0;
};

}  // namespace postrider
