#include "tests/faults/campaign/observer.h"

#include <algorithm>
#include <memory>

#include "dev/process.h"
#include "tests/faults/campaign/sql.h"

namespace postrider::campaign {
namespace {

constexpr std::chrono::milliseconds kSourcePause{100};
constexpr std::chrono::milliseconds kTargetPause{20};
constexpr std::size_t kProblemsKept = 20;

// The slot first: what it was told stands in the row before, but not in a row read before. The
// clock is read after the slot, so a confirmation is never dated too early.
constexpr const char* kSlotQuery =
    "SELECT confirmed_flush_lsn - '0/0'::pg_lsn, pg_current_wal_lsn() - restart_lsn, "
    "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM pg_replication_slots WHERE "
    "slot_name = 'postrider_shop'";
constexpr const char* kCheckpointQuery =
    "SELECT confirm_to - '0/0'::pg_lsn, ordinal, session FROM outbox.checkpoint WHERE source = "
    "'shop'";

constexpr const char* kTargetQuery =
    "SELECT t.cents, t.n, p.events, (SELECT ordinal FROM postrider.cursor WHERE readmodel = "
    "'tally'), (SELECT coalesce(sum(cents), 0) FROM account), (SELECT ordinal FROM "
    "postrider.cursor WHERE readmodel = 'copy') FROM (SELECT coalesce(sum(cents), 0) AS cents, "
    "coalesce(sum(n), 0) AS n FROM tally) t, progress p";

std::uint64_t as_number(const std::string& field) {
  return field.empty() ? 0 : std::stoull(field);
}

}  // namespace

std::vector<std::string> confirmed_early(const std::vector<Confirmed>& confirmed,
                                         const std::vector<Mark>& marks, std::uint64_t sync_us) {
  std::vector<std::string> problems;
  for (const auto& entry : confirmed) {
    // The newest transaction that is forgotten: its commit record begins before.
    const auto after =
        std::lower_bound(marks.begin(), marks.end(), entry.lsn,
                         [](const Mark& mark, std::uint64_t lsn) { return mark.commit_lsn < lsn; });
    if (after == marks.begin()) continue;
    const auto& mark = *(after - 1);
    const auto age_us =
        static_cast<std::int64_t>(entry.time_us) - static_cast<std::int64_t>(mark.stored_us);
    if (age_us < static_cast<std::int64_t>(sync_us))
      problems.push_back("the slot was told to forget ordinal " + std::to_string(mark.ordinal) +
                         " " + std::to_string(age_us / 1000) + " ms after the broker stored it");
  }
  return problems;
}

std::string torn_read(const ModelRead& before, const ModelRead& now) {
  const auto text = [](const char* what, long a, long b) {
    return std::string(what) + ": " + std::to_string(a) + " and " + std::to_string(b);
  };
  if (now.tally_cents != 0) return text("cents of the tally add up to", now.tally_cents, 0);
  if (now.copy_cents != 0) return text("cents of the copy add up to", now.copy_cents, 0);
  if (now.tally_events != now.tally_ordinal)
    return text("events counted by key, and the cursor", now.tally_events, now.tally_ordinal);
  if (now.progress_events != now.tally_ordinal)
    return text("events counted by batch, and the cursor", now.progress_events, now.tally_ordinal);
  if (now.tally_ordinal < before.tally_ordinal)
    return text("the tally's cursor fell", before.tally_ordinal, now.tally_ordinal);
  if (now.copy_ordinal < before.copy_ordinal)
    return text("the copy's cursor fell", before.copy_ordinal, now.copy_ordinal);
  return {};
}

std::vector<std::string> source_problems(const SourceRead& before,
                                         const std::optional<SourceRead>& now) {
  if (!now) return {"the slot or the checkpoint row is gone"};
  std::vector<std::string> problems;
  const auto fell = [&problems](const char* what, std::uint64_t from, std::uint64_t to) {
    if (to < from)
      problems.push_back(std::string("the checkpoint's ") + what + " fell from " +
                         std::to_string(from) + " to " + std::to_string(to));
  };
  fell("ordinal", before.ordinal, now->ordinal);
  fell("session", before.session, now->session);
  fell("confirm_to", before.confirm_to, now->confirm_to);
  if (now->confirmed > now->confirm_to && now->ordinal > 0)
    problems.push_back("the slot is confirmed to " + std::to_string(now->confirmed) +
                       ", beyond the checkpoint's " + std::to_string(now->confirm_to));
  return problems;
}

Observer::Observer(std::string source, std::string target)
    : source_(std::move(source)),
      target_(std::move(target)),
      source_thread_([this] { watch_source(); }),
      target_thread_([this] { watch_target(); }) {}

Observer::~Observer() {
  stop();
}

void Observer::stop() {
  stop_ = true;
  if (source_thread_.joinable()) source_thread_.join();
  if (target_thread_.joinable()) target_thread_.join();
}

void Observer::problem(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (problems_.size() < kProblemsKept) problems_.push_back(text);
}

void Observer::watch_source() {
  std::unique_ptr<Sql> sql;
  SourceRead before;
  while (!stop_) {
    try {
      if (!sql) sql = std::make_unique<Sql>(source_);
      const auto slot = sql->rows(kSlotQuery);
      const auto row = sql->rows(kCheckpointQuery);
      std::optional<SourceRead> now;
      if (!slot.empty() && !row.empty())
        now = SourceRead{as_number(slot[0][0]), as_number(row[0][0]), as_number(row[0][1]),
                         as_number(row[0][2])};
      for (const auto& wrong : source_problems(before, now)) problem(wrong);
      if (now) {
        before = *now;
        if (confirmed_.empty() || confirmed_.back().lsn != now->confirmed)
          confirmed_.push_back({now->confirmed, as_number(slot[0][2])});
        retained_peak_ = std::max<std::uint64_t>(retained_peak_, as_number(slot[0][1]));
      }
    } catch (const SqlError&) {
      sql.reset();  // away
    }
    (void)dev::wait_until([this] { return stop_.load(); }, kSourcePause);
  }
}

void Observer::watch_target() {
  std::unique_ptr<Sql> sql;
  ModelRead before;
  while (!stop_) {
    try {
      if (!sql) sql = std::make_unique<Sql>(target_);
      const auto rows = sql->rows(kTargetQuery);
      const auto number = [&rows](std::size_t i) {
        return rows[0][i].empty() ? 0 : std::stol(rows[0][i]);
      };
      const ModelRead now{number(0), number(1), number(2), number(3), number(4), number(5)};
      if (const auto torn = torn_read(before, now); !torn.empty()) problem("read model: " + torn);
      before = now;
      ++reads_;
    } catch (const SqlError&) {
      sql.reset();
    }
    (void)dev::wait_until([this] { return stop_.load(); }, kTargetPause);
  }
}

}  // namespace postrider::campaign
