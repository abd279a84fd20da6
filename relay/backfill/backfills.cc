#include "relay/backfill/backfills.h"

#include <poll.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/failpoint.h"

namespace postrider {
namespace {

// Orders show in the WAL: this is for what does not, such as the end of an old transaction.
constexpr milliseconds kIdlePoll{2000};
constexpr milliseconds kRelayPoll{5};
constexpr milliseconds kChunkPoll{250};
constexpr milliseconds kRetry{1000};
constexpr std::chrono::seconds kConfiguredPoll{10};
// Keys of moved rows in one statement.
constexpr std::size_t kMovedAtOnce = 1000;
// WAL that a backfill may be ahead of the relay: what others commit meanwhile waits behind it.
constexpr std::uint64_t kMostAhead = 16UL * 1024 * 1024;

// A table that is renamed under a chunk is there at the next attempt.
constexpr int kAttempts = 3;

using Clock = std::chrono::steady_clock;

// The rows of another tool's outbox table are events, of which each is sent once.
const CaptureRule* rule_of(const RelayOptions& options, const std::string& schema,
                           const std::string& table) {
  if (find_outbox(options.outboxes, schema, table) != nullptr) return nullptr;
  return find_rule(options.captures, schema, table);
}

}  // namespace

Backfills::Backfills(const RelayOptions& options, std::uint32_t timeline, StatusBoard& board)
    : options_(options),
      timeline_(timeline),
      board_(board),
      whole_table_watch_({.statement = std::chrono::hours(24 * 365)}) {
  if (options_.captures.empty()) return;
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "pr-backfill");
}

Backfills::~Backfills() {
  stop_.signal();
  watch_.stop();
  whole_table_watch_.stop();
  if (thread_.joinable()) thread_.join();
  board_.update([](RelayStatus& status) { status.backfills_active = 0; });
}

void Backfills::on_moved(std::uint32_t xid, const MovedRow& row) {
  if (!maybe_active_ || options_.captures.empty()) return;
  if (row.table != moved_.table || moved_.keys.size() >= kMovedAtOnce) on_moved_all();
  moved_.table = row.table;
  moved_.xid = xid;
  auto& key = moved_.keys.emplace_back(nlohmann::json::object());
  for (const auto& [column, value] : row.key) key[std::string(column)] = value;
}

void Backfills::on_moved_all() {
  if (moved_.keys.empty()) return;
  const auto moved = std::exchange(moved_, {});
  if (!moved_sql_)
    moved_sql_.emplace(options_.source.conninfo, options_.source.name, watch_, whole_table_watch_);
  std::string problem;
  try {
    maybe_active_ = moved_sql_->moved(moved.table, moved.keys.dump(), moved.xid);
    return;
  } catch (const BackfillImpossible& e) {
    problem = e.what();
  } catch (const nlohmann::json::exception& e) {  // a key that is no UTF-8
    problem = e.what();
  }
  // It would be the same again: what is given up is the backfill, not the source's events.
  problem = "rows that changed keys cannot be noted, and may be missing: " + problem;
  spdlog::error("backfills of the table with OID {} are cancelled: {}", moved.table, problem);
  try {
    moved_sql_->cancel(moved.table, problem);
  } catch (const BackfillImpossible& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, problem + "; " + e.what());
  }
}

void Backfills::run() {
  keep_trying([this](BackfillSql& sql) {
    const int anew = sql.open(timeline_);
    if (anew > 0) spdlog::warn("{} backfill(s) begin anew: they began on another timeline", anew);
    work(sql);
    return true;
  });
}

void Backfills::keep_trying(const std::function<bool(BackfillSql&)>& attempt) {
  do {
    try {
      BackfillSql sql(options_.source.conninfo, options_.source.name, watch_, whole_table_watch_);
      if (attempt(sql)) return;
    } catch (const std::exception& e) {
      if (!stop_.wait_for(milliseconds{0})) spdlog::warn("backfills are tried again: {}", e.what());
    }
  } while (pause(kRetry));
}

void Backfills::work(BackfillSql& sql) {
  auto next_configured = Clock::now();
  do {
    if (Clock::now() >= next_configured) {
      order_configured(sql);
      next_configured = Clock::now() + kConfiguredPoll;
    }
    const auto orders = sql.orders();
    board_.update([&](RelayStatus& status) {
      status.backfills_active = static_cast<int>(orders.active.size());
      status.backfills_failed = orders.failed;
    });
    bool worked = false;
    for (const auto& order : orders.active) {
      try {
        worked = advance(sql, order) || worked;
        impossible_.erase(order.id);
      } catch (const BackfillImpossible& e) {
        give_up_or_wait(sql, order, e);
      } catch (const Failure& failure) {
        // The next one may be able to go on; a broken connection shows at its first statement.
        note(sql, order, failure.error().context);
      }
      if (stop_.wait_for(milliseconds{0})) return;
    }
    if (worked) continue;
    if (!pause_idle()) return;
  } while (!stop_.wait_for(milliseconds{0}));
}

void Backfills::note(BackfillSql& sql, const BackfillOrder& order, const std::string& problem) {
  if (order.problem == problem) return;
  if (!problem.empty())
    spdlog::warn("backfill of {}.{} waits: {}", order.schema, order.table, problem);
  sql.note(order.id, problem, /*failed=*/false);
}

void Backfills::give_up_or_wait(BackfillSql& sql, const BackfillOrder& order,
                                const BackfillImpossible& impossible) {
  const std::string problem = impossible.what();
  if (!impossible.at_once() && ++impossible_[order.id] < kAttempts)
    return note(sql, order, problem);
  spdlog::error("backfill of {}.{} failed: {}", order.schema, order.table, problem);
  sql.note(order.id, problem, /*failed=*/true);
  impossible_.erase(order.id);
}

void Backfills::order_configured(BackfillSql& sql) {
  if (std::ranges::none_of(options_.captures, &CaptureRule::backfill)) return;
  for (const auto& [schema, table] : sql.tables_without()) {
    const auto* rule = rule_of(options_, schema, table);
    if (rule == nullptr || !rule->backfill) continue;
    try {
      if (sql.order_once(schema, table))
        spdlog::info("backfill of {}.{} ordered by the configuration", schema, table);
    } catch (const BackfillImpossible& e) {
      if (said_.insert(e.what()).second)
        spdlog::error("{}.{} is not backfilled: {}", schema, table, e.what());
    }
  }
}

bool Backfills::advance(BackfillSql& sql, const BackfillOrder& order) {
  if (order.table.empty()) throw BackfillImpossible("the table was dropped");
  if (rule_of(options_, order.schema, order.table) == nullptr) {
    note(sql, order, "the running relay's configuration does not capture the table");
    return false;
  }
  if (!order.admitted) {
    if (!sql.admit(order.id, timeline_)) return false;
    spdlog::info("backfill of {}.{} begins", order.schema, order.table);
  }
  BackfillPace pace(order.rows_per_second);
  std::atomic<bool> finished{false};
  std::vector<std::thread> helpers;
  for (int i = 1; i < order.workers && !order.replaces; ++i) {
    helpers.emplace_back([&] { help(order, pace, finished); });
    pthread_setname_np(helpers.back().native_handle(),
                       ("pr-backfill-" + std::to_string(i)).c_str());
  }
  const auto join = [&] {
    finished = true;
    for (auto& helper : helpers) helper.join();
  };
  try {
    carry(sql, order, pace);
  } catch (...) {
    join();
    throw;
  }
  join();
  note(sql, order, "");
  return true;
}

void Backfills::help(const BackfillOrder& order, BackfillPace& pace,
                     const std::atomic<bool>& finished) {
  keep_trying([&](BackfillSql& sql) {
    while (!finished) {
      carry(sql, order, pace);
      if (!pause(kChunkPoll)) break;
    }
    return true;
  });
}

void Backfills::carry(BackfillSql& sql, const BackfillOrder& order, BackfillPace& pace) {
  // WAL begins far behind kMostAhead.
  while (wait_for(handled_, sql.wal_end().value - kMostAhead)) {
    Clock::time_point next;
    std::uint64_t rows = 0;
    {
      const std::lock_guard lock(pace_mutex_);
      next = pace.next();
      rows = pace.rows();
    }
    while (Clock::now() < next)
      if (!pause(std::min(kIdlePoll, std::chrono::ceil<milliseconds>(next - Clock::now())))) return;

    const auto carried = sql.carry(order.id, order.replaces);
    if (carried.outcome == CarriedChunk::Outcome::kCarried) {
      const std::lock_guard lock(pace_mutex_);
      pace.on_carried(carried.rows, carried.bytes, carried.locked_for, Clock::now());
      board_.update([&](RelayStatus& status) { status.backfilled_rows_total += carried.rows; });
      continue;
    }
    if (carried.outcome == CarriedChunk::Outcome::kBusy) {
      const std::lock_guard lock(pace_mutex_);
      pace.on_busy();
      continue;
    }
    if (sql.plan(order.id, rows)) continue;
    const auto done = sql.done(order.id);
    if (!done) {
      // Paused or cancelled; or what is left is put off, or at work elsewhere.
      const auto time = sql.until_next(order.id, kChunkPoll);
      if (!time || !pause(std::max(*time, kRelayPoll))) return;
      continue;
    }
    // The relay has told of every row that took another key before the last chunk was carried, and
    // the stream holds them all.
    if (!wait_for(published_, done->wal_end.value)) return;
    POSTRIDER_FAILPOINT("backfill.before_complete");
    if (!sql.complete(order.id, done->chunks)) continue;
    spdlog::info("backfill of {}.{} is complete", order.schema, order.table);
    return;
  }
}

bool Backfills::pause_idle() {
  std::array<pollfd, 2> entries{{{stop_.fd(), POLLIN, 0}, {news_.fd(), POLLIN, 0}}};
  ::poll(entries.data(), entries.size(), static_cast<int>(kIdlePoll.count()));
  news_.clear();
  return (entries[0].revents & POLLIN) == 0;
}

bool Backfills::wait_for(const std::atomic<std::uint64_t>& reached, std::uint64_t lsn) {
  while (reached.load(std::memory_order_relaxed) < lsn)
    if (!pause(kRelayPoll)) return false;
  return !stop_.wait_for(milliseconds{0});
}

}  // namespace postrider
