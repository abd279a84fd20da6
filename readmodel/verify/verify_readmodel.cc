#include "readmodel/verify/verify_readmodel.h"

#include <algorithm>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "base/failpoint.h"
#include "base/wake.h"
#include "migrations/migrations.h"
#include "readmodel/postgres/target.h"
#include "readmodel/verify/hold.h"
#include "readmodel/verify/query_side.h"
#include "readmodel/verify/ranges.h"
#include "readmodel/verify/source_snapshot.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kPoll{5};  // for the applier to reach the place
constexpr milliseconds kObstacleLook{500};
constexpr milliseconds kApplierStarts{5'000};  // for one that was killed and starts again

constexpr std::size_t kDigits = 3;      // 4096 ranges
constexpr std::size_t kFineDigits = 6;  // 16 million, of which only a few ranges' are looked at
constexpr std::size_t kMostRanges = 64;
constexpr std::uint64_t kFewRows = 50'000;  // are fetched without narrowing further

milliseconds since(Clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start);
}

// Both sides at once: each waits for its own server.
template <class Work>
auto on_both(QuerySide& source, QuerySide& target, Work work) {
  auto there = std::async(std::launch::async, [&] { return work(source, true); });
  auto here = work(target, false);
  return std::pair(there.get(), std::move(here));
}

// Who makes the slot wait, as far as this role may see it.
std::string oldest_writer(QuerySide& source) {
  const auto rows = source.sql().exec(
      "SELECT 'transaction ' || transaction || ', prepared as ' || gid FROM pg_prepared_xacts "
      "WHERE database = current_database() UNION ALL SELECT 'transaction ' || backend_xid || "
      "', of process ' || pid || ' (' || usename || '), begun at ' || xact_start "
      "FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND xact_start IS NOT NULL LIMIT 3");
  std::string text;
  for (const auto& row : rows) text += (text.empty() ? "" : "; ") + row[0].as<std::string>();
  return text;
}

// One run of the protocol.
class Run {
 public:
  Run(const VerifyReadModelOptions& options, const std::vector<Comparison>& comparisons)
      : options_(options),
        comparisons_(comparisons),
        source_(options.source_conninfo, "source", ""),
        target_(options.target_conninfo, "target", options.schema),
        hold_(options.target_conninfo, options.readmodel, options.timeout) {}

  ReadModelVerdict verdict() {
    const auto start = Clock::now();
    // Before anybody is held: would both servers accept the queries?
    for (const auto& comparison : comparisons_) {
      source_.check(comparison.source_query, comparison.key);
      target_.check(comparison.target_query, comparison.key);
    }
    if (take_snapshots() && !compare_all()) verdict_.comparisons.clear();
    verdict_.took = since(start);
    return std::move(verdict_);
  }

 private:
  std::string place() const {
    return std::to_string(verdict_.timeline) + "/" + verdict_.point.to_string();
  }
  bool fail(std::string why) {
    verdict_.could_not_say = std::move(why);
    return false;
  }
  bool take_snapshots();
  bool wait_until_reached();
  bool look_at_cursor();
  bool compare_all();
  bool lock(const Comparison& comparison);
  ComparisonResult compare(const Comparison& comparison);
  void narrow(const Comparison& comparison, std::vector<std::string> ranges, std::uint64_t rows,
              ComparisonResult& result);

  const VerifyReadModelOptions& options_;
  const std::vector<Comparison>& comparisons_;
  QuerySide source_;
  QuerySide target_;
  Hold hold_;
  std::string system_id_;  // of the source
  std::optional<std::int64_t> generation_;
  ReadModelVerdict verdict_;
};

bool Run::take_snapshots() {
  auto snapshot = std::make_unique<SourceSnapshot>(options_.source_conninfo);
  POSTRIDER_FAILPOINT("verify.before_hold");
  generation_ = hold_.take();
  if (!generation_) return fail("it has never been applied: it has no cursor");
  const auto held_since = Clock::now();
  POSTRIDER_FAILPOINT("verify.after_hold");
  if (!snapshot->take(options_.timeout)) {
    hold_.release();
    source_.begin();
    const auto who = oldest_writer(source_);
    return fail("the source has transactions that have been writing for longer than the timeout" +
                (who.empty() ? "" : ": " + who));
  }
  POSTRIDER_FAILPOINT("verify.after_slot");
  source_.begin(snapshot->name());
  system_id_ = snapshot->system_id();
  verdict_.timeline = snapshot->timeline();
  verdict_.point = snapshot->point();
  snapshot.reset();  // the snapshot lives in our transaction now; the slot need not keep WAL
  hold_.let_run_to(verdict_.timeline, verdict_.point);
  POSTRIDER_FAILPOINT("verify.after_place");
  const bool reached = wait_until_reached();
  POSTRIDER_FAILPOINT("verify.after_reached");
  if (reached) target_.begin();
  POSTRIDER_FAILPOINT("verify.after_target_snapshot");
  hold_.release();
  verdict_.held = since(held_since);
  POSTRIDER_FAILPOINT("verify.after_release");
  return reached && look_at_cursor();
}

bool Run::wait_until_reached() {
  const Wake clock;  // nobody signals it
  const auto start = Clock::now();
  auto last_look = start;
  auto last_applied = start;  // when somebody was last seen to apply it
  while (!hold_.reached()) {
    const auto now = Clock::now();
    if (now - start > options_.timeout)
      return fail("it did not come to " + place() + " within the timeout: is the relay running?");
    if (now - last_look >= kObstacleLook || last_look == start) {
      last_look = now;
      const auto obstacle = hold_.obstacle();
      if (!obstacle) last_applied = now;
      if (obstacle && (!obstacle->passing || now - last_applied >= kApplierStarts))
        return fail(obstacle->why);
    }
    (void)clock.wait_for(kPoll);
  }
  return true;
}

// In the snapshot: is this still the read model that was held, and is it where it was to be?
bool Run::look_at_cursor() {
  const auto rows = sql::exec(
      target_.sql(),
      "SELECT generation, ordinal, timeline, lsn, idx, (timeline, lsn) < ($2, $3::pg_lsn), "
      "coalesce(barrier_reached AND barrier_holder = $4, false), "
      "(SELECT count(*) FROM postrider.parked p WHERE p.readmodel = $1), "
      "(SELECT v.system_id FROM postrider.coverage v WHERE v.readmodel = $1) "
      "FROM postrider.cursor c WHERE c.readmodel = $1",
      options_.readmodel, static_cast<std::int64_t>(verdict_.timeline), verdict_.point.to_string(),
      hold_.holder());
  if (rows.empty() || rows[0][0].as<std::int64_t>() != *generation_ || !rows[0][6].as<bool>() ||
      !rows[0][5].as<bool>())
    return fail("it was rebuilt or moved by hand meanwhile: verify again");
  const auto& row = rows[0];
  if (!row[8].is_null() && row[8].as<std::string>() != system_id_)
    throw Failure(ErrorKind::kWrongSystem,
                  "the read model is fed from system " + row[8].as<std::string>() +
                      ", source.verify_conninfo leads to system " + system_id_,
                  "see docs/operating.md, \"wrong system\"");
  verdict_.ordinal = row[1].as<std::uint64_t>();
  verdict_.parked = row[7].as<std::uint64_t>();
  if (verdict_.ordinal == 0) return true;
  Position position;
  position.timeline = row[2].as<std::uint32_t>();
  position.commit_lsn = Lsn::parse(row[3].c_str()).value_or(Lsn{});
  position.index = row[4].as<std::uint32_t>();
  verdict_.position = position.to_string();
  return true;
}

bool Run::compare_all() {
  for (const auto& comparison : comparisons_) {
    if (!lock(comparison)) return false;
    verdict_.comparisons.push_back(compare(comparison));
  }
  // A name would then lead to a table that our snapshot does not see into.
  return hold_.generation() == generation_ ||
         fail("it was swapped by a rebuild meanwhile: verify again");
}

// A snapshot does not outlive TRUNCATE, nor an ALTER TABLE that writes the table anew: what it saw
// is gone, and an empty table would be compared. Only tables that are compared already are locked.
bool Run::lock(const Comparison& comparison) {
  const auto there = source_.lock(comparison.source_query, comparison.key);
  const auto here = target_.lock(comparison.target_query, comparison.key);
  if (there.empty() && here.empty()) return true;
  return fail((there.empty() ? here : there).front() + " of the " +
              (there.empty() ? "target" : "source") +
              " was truncated, rewritten or made anew meanwhile, and is not what it was at " +
              place() + ": verify again");
}

ComparisonResult Run::compare(const Comparison& comparison) {
  const auto start = Clock::now();
  ComparisonResult result;
  result.name = comparison.name;
  const auto [there, here] = on_both(source_, target_, [&](QuerySide& side, bool is_source) {
    return side.sums(is_source ? comparison.source_query : comparison.target_query, comparison.key,
                     kDigits, {});
  });
  result.source_rows = rows_of(there);
  result.target_rows = rows_of(here);
  auto ranges = differing(there, here);
  result.ranges_differing = ranges.size();
  std::uint64_t rows = 0;
  const std::set<std::string> wanted(ranges.begin(), ranges.end());
  for (const auto* side : {&there, &here})
    for (const auto& sum : *side)
      if (wanted.contains(sum.range)) rows += sum.rows;
  if (!ranges.empty()) narrow(comparison, std::move(ranges), rows, result);
  result.took = since(start);
  return result;
}

// From ranges to rows. What is fetched is bounded: a few rows as they are, else only of finer
// ranges that differ, and no more of those than there are rows to list.
void Run::narrow(const Comparison& comparison, std::vector<std::string> ranges, std::uint64_t rows,
                 ComparisonResult& result) {
  bool complete = true;
  const auto cut = [&](std::size_t most) {
    if (ranges.size() <= most) return;
    ranges.resize(most);
    complete = false;
  };
  if (rows > kFewRows) {
    cut(kMostRanges);
    const auto [there, here] = on_both(source_, target_, [&](QuerySide& side, bool is_source) {
      return side.sums(is_source ? comparison.source_query : comparison.target_query,
                       comparison.key, kFineDigits, ranges);
    });
    ranges = differing(there, here);
    cut(options_.limit);
  }
  if (ranges.empty()) return;  // --limit 0
  const auto source_rows = source_.rows(comparison.source_query, comparison.key, ranges);
  const auto target_rows = target_.rows(comparison.target_query, comparison.key, ranges);
  result.differences = find_differences(source_rows, target_rows, options_.limit);
  result.differences.complete = result.differences.complete && complete;
}

}  // namespace

bool ReadModelVerdict::differs() const {
  return std::ranges::any_of(comparisons, [](const auto& result) { return !result.equal(); });
}

ReadModelVerdict verify_readmodel(const VerifyReadModelOptions& options,
                                  const std::vector<Comparison>& comparisons) {
  Target({options.target_conninfo, options.readmodel, "", "", "public"})
      .require_schema(latest_readmodel_schema_version());
  return Run(options, comparisons).verdict();
}

}  // namespace postrider
