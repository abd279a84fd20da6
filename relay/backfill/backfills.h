// Carries out the backfills of a source while this relay carries its events: those that were
// ordered
// (`postrider backfill start`) and those that the configuration asks for, one after another.
//
// All state is in the source's database, and each step is a transaction of its own: whatever ends
// this process, the next relay goes on where it was. What is carried comes back through the WAL.
// Threads: "pr-backfill" and, for a backfill of several workers, "pr-backfill-N".
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "base/wake.h"
#include "relay/backfill/backfill_sql.h"
#include "relay/backfill/pace.h"
#include "relay/options.h"
#include "relay/session.h"
#include "relay/status.h"

namespace postrider {

class Backfills : public BackfillListener {
 public:
  // For one session, which has opened the epoch of options.captures. The arguments must outlive
  // this.
  Backfills(const RelayOptions& options, SqlWatch& watch, StatusBoard& board);
  ~Backfills() override;
  Backfills(const Backfills&) = delete;
  Backfills& operator=(const Backfills&) = delete;

  void on_started() override { maybe_active_ = true; }
  void on_moved(const MovedRow& row) override;
  void on_handled(Lsn lsn) override { handled_.store(lsn.value, std::memory_order_relaxed); }

 private:
  void run();
  void work(BackfillSql& sql);
  void order_configured(BackfillSql& sql);
  // True when it was worked on, false when it waits.
  bool advance(BackfillSql& sql, const BackfillOrder& order);
  // Carries chunks until none is left or somebody ends it.
  void carry(BackfillSql& sql, const BackfillOrder& order, BackfillPace& pace);
  void help(const BackfillOrder& order, BackfillPace& pace, const std::atomic<bool>& finished);
  // Runs `attempt` with a connection until it returns true; after a failure with a new connection.
  void keep_trying(const std::function<bool(BackfillSql&)>& attempt);
  // Waits until the relay is at most so far behind the WAL's end. False when asked to stop.
  bool wait_for_relay(Lsn wal_end, std::uint64_t distance);
  bool pause(milliseconds time) { return !stop_.wait_for(time); }

  const RelayOptions& options_;
  SqlWatch& watch_;
  StatusBoard& board_;
  const Wake stop_;
  std::atomic<std::uint64_t> handled_{0};
  std::mutex pace_mutex_;
  std::set<std::string> said_;  // warnings are worth one line a session

  // Of the session's thread.
  bool maybe_active_ = true;
  std::optional<BackfillSql> moved_sql_;

  std::thread thread_;
};

}  // namespace postrider
