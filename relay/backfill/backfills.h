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
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
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
  // For one session on this timeline, which has opened the epoch of options.captures. The arguments
  // must outlive this.
  Backfills(const RelayOptions& options, std::uint32_t timeline, StatusBoard& board);
  // Ends what is under way within seconds, also a whole table's.
  ~Backfills() override;
  Backfills(const Backfills&) = delete;
  Backfills& operator=(const Backfills&) = delete;

  void on_started() override {
    maybe_active_ = true;
    news_.signal();
  }
  void on_moved(std::uint32_t xid, const MovedRow& row) override;
  void on_moved_all() override;
  void on_handled(Lsn lsn) override { handled_.store(lsn.value, std::memory_order_relaxed); }
  void on_published(Lsn lsn) override { published_.store(lsn.value, std::memory_order_relaxed); }

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
  // Waits until the relay has reached `lsn`. False when asked to stop.
  bool wait_for(const std::atomic<std::uint64_t>& reached, std::uint64_t lsn);
  // Why an order does not go on, for people; empty: it does. Written unless the table said so when
  // the order was read.
  void note(BackfillSql& sql, const BackfillOrder& order, const std::string& problem);
  // After an attempt that failed for good: it is tried again a few times.
  void give_up_or_wait(BackfillSql& sql, const BackfillOrder& order,
                       const BackfillImpossible& impossible);
  bool pause(milliseconds time) { return !stop_.wait_for(time); }
  // Until the next look at the orders, or a new one. False when asked to stop.
  bool pause_idle();

  const RelayOptions& options_;
  const std::uint32_t timeline_;
  StatusBoard& board_;
  SqlWatch watch_;
  SqlWatch whole_table_watch_;
  const Wake stop_;
  const Wake news_;  // an order was given, or resumed
  std::atomic<std::uint64_t> handled_{0};
  std::atomic<std::uint64_t> published_{0};
  std::mutex pace_mutex_;
  std::set<std::string> said_;              // warnings are worth one line a session
  std::map<std::int64_t, int> impossible_;  // attempts in a row that failed for good

  // Of the session's thread.
  bool maybe_active_ = true;
  std::optional<BackfillSql> moved_sql_;
  // Of one table and transaction, not in the database yet. A session that ends before they are
  // hears of the whole transaction again.
  struct Moved {
    std::uint32_t table = 0;
    std::uint32_t xid = 0;
    nlohmann::json keys = nlohmann::json::array();
  } moved_;

  std::thread thread_;
};

}  // namespace postrider
