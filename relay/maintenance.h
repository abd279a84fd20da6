// Housekeeping of the outbox while a relay owns the source: outbox.maintain(), now and then. Not
// while a repair does, which may need what is old.
//
// On a thread and a connection of its own, which it opens for each call: a call may read a day of
// events before it drops them, and neither the lock's sign of life nor a stop waits for that. Two
// at once do no harm, the second does nothing. What fails is logged, and tried again the next time.
#pragma once

#include <thread>

#include "base/postgres/sql_watch.h"
#include "base/wake.h"
#include "relay/options.h"

namespace postrider {

class Maintenance {
 public:
  // `options` must outlive it.
  explicit Maintenance(const RelayOptions& options);
  // Ends a call that is under way within seconds; what it did is rolled back.
  ~Maintenance();
  Maintenance(const Maintenance&) = delete;
  Maintenance& operator=(const Maintenance&) = delete;

 private:
  void run();

  const RelayOptions& options_;
  SqlWatch watch_;
  const Wake stop_;
  std::thread thread_;
};

}  // namespace postrider
