#include "tests/faults/campaign/round.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "dev/process.h"
#include "tests/faults/campaign/injector.h"
#include "tests/faults/campaign/observer.h"
#include "tests/faults/campaign/prober.h"
#include "tests/faults/campaign/quiet_checker.h"
#include "tests/faults/campaign/random.h"
#include "tests/faults/campaign/sql.h"
#include "tests/faults/campaign/tally_checker.h"
#include "tests/faults/campaign/watcher.h"
#include "tests/faults/campaign/witness.h"

namespace postrider::campaign {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kStalled{120'000};
constexpr std::uint64_t kChangesAtOnce = 400'000;

// From the server's first line.
std::string broker_version(std::uint16_t port) {
  return test::NatsClient(port).server_info()["version"];
}

template <class From>
void append(std::vector<std::string>& to, const From& from) {
  to.insert(to.end(), from.begin(), from.end());
}

class Round {
 public:
  Round(const Plan& plan, const std::filesystem::path& folder)
      : plan_(plan),
        world_(folder),
        watcher_(world_.broker().options().port),
        fleet_(world_),
        workload_(
            {world_.source_conninfo("app"), derive(plan.seed, "workload"), plan.writers, plan.keys},
            watcher_.published()),
        observer_(world_.source_conninfo("postgres"), world_.target_conninfo("postgres")),
        prober_(world_.source_conninfo("app"), world_.target_conninfo("app"),
                world_.target_conninfo("postgres")),
        witness_(world_.source_conninfo("postgres")),
        injector_(world_, fleet_, workload_, watcher_.published()),
        log_(folder / "faults.jsonl"),
        begin_(Clock::now()) {
    report_.rounds = 1;
    report_.postgres =
        "PostgreSQL " + Sql(world_.source_conninfo("postgres")).value("SHOW server_version");
    report_.broker = "nats-server " + broker_version(world_.broker().options().port);
  }

  Report run() {
    // Stays quiet until the end of the last step; the sampler is the only one that looks meanwhile.
    std::atomic<bool> stop{false};
    std::thread sampler([&] {
      while (!stop) {
        fleet_.sample();
        (void)dev::wait_until([&] { return stop.load(); }, std::chrono::milliseconds(500));
      }
    });
    const bool alive = run_steps();
    if (alive) (void)arrive(plan_.events);
    finish(alive);
    stop = true;
    sampler.join();
    report_.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    return report_;
  }

 private:
  // False once nothing moves any more: the rest of the round would show nothing.
  bool run_steps() {
    for (const auto& step : plan_.steps) {
      if (!arrive(watcher_.published() + step.after)) return false;
      const auto published = watcher_.published().load();
      const auto began = Clock::now();
      injector_.run(step);
      const auto healed = Clock::now();
      workload_.slow_down(true);
      const auto recovered = prober_.recover();
      workload_.slow_down(false);
      nlohmann::json line = {{"fault", step.name()},
                             {"at", published},
                             {"lasted_ms", ms(healed - began)},
                             {"recovered_ms", recovered.value_or(-1)}};
      log_ << line.dump() << std::endl;
      if (!recovered) {
        problem("after " + step.name() + " at " + std::to_string(published) +
                " the read models do not catch up");
        return false;
      }
      report_.recovery_ms[std::string(name_of(step.kind))].push_back(*recovered);
      take_witness(/*all=*/false);
    }
    return true;
  }

  // Waits until the stream holds so many messages.
  bool arrive(std::uint64_t messages) {
    auto seen = watcher_.published().load();
    auto moved = Clock::now();
    const bool there = dev::wait_until(
        [&] {
          const auto now = watcher_.published().load();
          if (now != seen) moved = Clock::now();
          seen = now;
          return now >= messages || Clock::now() - moved > kStalled;
        },
        std::chrono::hours(24));
    if (there && seen >= messages) return true;
    problem("the stream stands still at " + std::to_string(seen) + " messages");
    return false;
  }

  void take_witness(bool all) {
    try {
      const auto keep = [this](const Committed& transaction) { committed_.push_back(transaction); };
      const std::uint64_t little = all ? 1 : kChangesAtOnce;
      while (witness_.take(kChangesAtOnce, keep) >= little) {
      }
    } catch (const SqlError& error) {
      if (all) problem(error.what());
    }
  }

  void finish(bool alive) {
    workload_.stop();
    if (alive && !prober_.recover()) problem("the last marker does not arrive");
    const auto quiet_since = source_now();
    if (alive) expect_confirmed(quiet_since);
    fleet_.sample();
    fleet_.stop_all();
    observer_.stop();
    watcher_.stop();
    take_witness(/*all=*/true);
    check_stream();
    compare_replica();
    collect();
  }

  std::uint64_t source_now() {
    return std::stoull(Sql(world_.source_conninfo("postgres"))
                           .value("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"));
  }

  static SlotState slot_state(Sql& source) {
    const auto rows =
        source.rows(std::string("SELECT active, confirmed_flush_lsn - '0/0'::pg_lsn, restart_lsn - "
                                "'0/0'::pg_lsn FROM pg_replication_slots WHERE slot_name = '") +
                    kSlot + "'");
    if (rows.empty()) return {};
    return {rows[0][0] == "t", std::stoull(rows[0][1]), std::stoull(rows[0][2])};
  }

  // C9: the slot is in use, moves past everything once the broker must have synced it, and then
  // lets go of its WAL. PostgreSQL moves restart_lsn to a record of the running transactions, which
  // a checkpoint writes, when something behind it is confirmed: hence the marker. It remembers one
  // such record at a time, which can be an older one, and the oldest running transaction holds it
  // back by one record more: two checkpoints are enough, and four take none of that for granted.
  void expect_confirmed(std::uint64_t lsn) {
    constexpr int kMostCheckpoints = 4;
    Sql source(world_.source_conninfo("postgres"));
    auto wrong = left_behind(slot_state(source), lsn);
    for (int i = 0; i < kMostCheckpoints && !wrong.empty(); ++i) {
      source.run("CHECKPOINT");
      const auto recorded = source_now();
      if (!prober_.recover()) return problem("the last marker does not arrive");
      SlotState slot;
      if (!dev::wait_until(
              [&] {
                slot = slot_state(source);
                return slot.active && slot.confirmed >= recorded;
              },
              kBrokerSync * 5))
        return problem(left_behind(slot, recorded));
      wrong = left_behind(slot, lsn);
    }
    if (!wrong.empty()) problem(wrong);
  }

  void check_stream() {
    StreamChecker checker(workload_.histories());
    TallyChecker tally;
    for (const auto& transaction : committed_) checker.expect(transaction);
    test::NatsClient client(world_.broker().options().port);
    client.for_each_message(kStream, [&](const test::StreamMessage& message) {
      watcher_.note(message);
      checker.see(seen_of(message));
      tally.see(message);
    });
    report_.stream = checker.finish();
    std::map<std::string, Tally> found;
    for (const auto& row :
         Sql(world_.target_conninfo("postgres")).rows("SELECT key, n, chain, cents FROM tally"))
      found[row[0]] = {std::stol(row[1]), std::stol(row[2]), std::stol(row[3])};
    append(report_.problems, differences(tally.expected(), found));
    append(report_.problems,
           confirmed_early(observer_.confirmed(), checker.marks(),
                           static_cast<std::uint64_t>(kBrokerSync.count()) * 1000));
  }

  // C7: the replica's rows are the source's.
  void compare_replica() {
    for (const auto* table : {"account", "marker"}) {
      const auto rows_of = [table](const std::string& conninfo) {
        const auto row = Sql(conninfo)
                             .rows(std::string("SELECT count(*), coalesce(sum(hashtextextended("
                                               "t::text, 0)), 0) FROM ") +
                                   table + " t")
                             .front();
        return TableRows{row[0], row[1]};
      };
      const auto wrong = replica_differs(table, rows_of(world_.source_conninfo("postgres")),
                                         rows_of(world_.target_conninfo("postgres")));
      if (!wrong.empty()) problem(wrong);
    }
  }

  void collect() {
    append(report_.problems, fleet_.problems());
    append(report_.problems, observer_.problems());
    append(report_.problems, watcher_.problems());
    append(report_.problems, injector_.problems());
    append(report_.problems, prober_.problems());
    report_.reads = observer_.reads();
    report_.retained_peak = observer_.retained_peak();
    report_.destroyed = watcher_.destroyed();
    report_.exits = fleet_.exits();
    report_.peaks = fleet_.peaks();
    for (const auto& [role, peak] : report_.peaks)
      if (const auto wrong = beyond_limits(role, peak, dev::kSanitized); !wrong.empty())
        problem(wrong);
    for (const auto& history : workload_.histories())
      for (const auto& attempt : history) {
        ++report_.attempts;
        if (attempt.outcome == Outcome::kUnknown) ++report_.unknown;
      }
  }

  static std::int64_t ms(Clock::duration time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  }
  void problem(const std::string& text) { report_.problems.push_back(text); }

  const Plan& plan_;
  World world_;
  Watcher watcher_;
  Fleet fleet_;
  Workload workload_;
  Observer observer_;
  Prober prober_;
  Witness witness_;
  Injector injector_;
  std::vector<Committed> committed_;
  std::ofstream log_;
  Clock::time_point begin_;
  Report report_;
};

}  // namespace

Report run_round(const Plan& plan, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "schedule.jsonl") << to_jsonl(plan);
  Round round(plan, folder);
  return round.run();
}

}  // namespace postrider::campaign
