#include "daemon/repair/repair.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/failpoint.h"
#include "base/wake.h"
#include "daemon/repair/mark_check.h"
#include "daemon/repair/missing.h"
#include "daemon/verify/outbox_rows.h"
#include "daemon/verify/spill.h"
#include "daemon/verify/stream_scan.h"
#include "migrations/migrations.h"
#include "readmodel/verify/source_snapshot.h"
#include "relay/ownership.h"
#include "relay/postgres/source.h"
#include "relay/session_start.h"
#include "relay/status.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kConnectTimeout{5'000};
constexpr milliseconds kPoll{100};
constexpr seconds kOwnerPatience{10};  // for a relay that has just ended, or is dead
constexpr seconds kMarkTimeout{60};    // for WAL that is decoded up to the newest message's
constexpr seconds kRelayPatience{3};   // beside a dry run, for a relay that holds the slot
constexpr seconds kSlotTimeout{60};    // for transactions that are open
constexpr seconds kWriterTimeout{60};  // for transactions that write into the wal store

// What only the operator can decide: whether the stream or the source is right.
bool is_divergence(ErrorKind kind) {
  return kind == ErrorKind::kSourceWentBack || kind == ErrorKind::kTimelineDiverged ||
         kind == ErrorKind::kHistoryDiffers || kind == ErrorKind::kForeignMessage;
}

// What this source's slot, stream or publication lack, and a repair brings back.
bool is_repairable(ErrorKind kind) {
  return is_divergence(kind) || kind == ErrorKind::kSlotMissing ||
         kind == ErrorKind::kSlotUnusable || kind == ErrorKind::kDurableEventsLost ||
         kind == ErrorKind::kPublicationMissing || kind == ErrorKind::kRepairUnfinished;
}

class Repair {
 public:
  explicit Repair(const RepairOptions& options)
      : options_(options),
        relay_(options.relay),
        source_(relay_.source.conninfo, "postrider repair " + relay_.source.name),
        wal_(replication_options()),
        client_(relay_.nats, "postrider repair " + relay_.source.name, kConnectTimeout) {}

  RepairReport run() {
    source_.require_schema(latest_service_schema_version());
    if (!options_.dry_run) own();
    read_row();
    begun_ = read_begun_repair(source_.connection(), relay_.source.name);
    void_after_ = options_.void_after;
    if (begun_ && begun_->void_after) {
      if (void_after_ && void_after_ != begun_->void_after)
        throw Failure(ErrorKind::kConfiguration,
                      "a repair with --void-after " + std::to_string(*begun_->void_after) +
                          " has begun and may have deleted messages",
                      "run it again without another word, or with the same");
      void_after_ = begun_->void_after;
    }
    diagnose();
    // A session of a relay may have moved on between two looks.
    if (options_.dry_run && !report_.reason.empty()) {
      read_row();
      diagnose();
    }
    if (report_.reason.empty()) compare_mark();
    RepairRow row(options_.owner_conninfo, relay_.source.name, row_.session, identity_.system_id);
    report_.by_commit_time = row.tracks_commit_times();
    report_.wal_store = row_.wal_store || epochs_.any_messages();
    for (const auto& rule : relay_.outboxes) report_.outboxes.push_back(rule.table);
    scan();
    report_.plan = plan_repair(row_, history_->content(), begun_, newest_hole());
    compare(OutboxRows(relay_.source.conninfo));
    judge();
    report_.word_given = void_after_.has_value();
    if (report_.needs_word && options_.void_after) require_word_is_meant();
    if (report_.reason.empty()) return std::move(report_);
    if (options_.dry_run || (report_.needs_word && !void_after_)) {
      report_.backfills = row.tables_to_replace(report_.outboxes);
      report_.refused = obstacle();
      return std::move(report_);
    }
    carry_out(row);
    report_.done = true;
    return std::move(report_);
  }

 private:
  void own() {
    ownership_.emplace(relay_, wake_, watch_, board_);
    const auto deadline = Clock::now() + kOwnerPatience;
    const bool ours =
        ownership_->acquire([&] { return Clock::now() > deadline; }, [](const std::string&) {});
    if (!ours)
      throw Failure(ErrorKind::kSessionFenced,
                    "a relay, or another repair, owns source " + relay_.source.name,
                    "stop it first: a repair takes the relay's place");
    // Fences every session before it; a walsender that is left is the past.
    row_ = source_.open_session(relay_.source.name);
    if (const auto slot = source_.slot(relay_.source.slot); slot.active_pid)
      source_.terminate(*slot.active_pid);
  }

  void read_row() {
    auto row = source_.read_checkpoint(relay_.source.name);
    if (!row)
      throw Failure(ErrorKind::kNotInitialised, "source " + relay_.source.name + " has no row",
                    "run `postrider migrate up`");
    row_ = std::move(*row);
    require_binding(row_, relay_.source.slot, relay_.source.publication);
    epochs_ = value_or_throw(Epochs::from_json(row_.epochs_json));
  }

  void diagnose() {
    report_.reason.clear();
    report_.needs_word = false;
    // Before the stream: what a relay beside a dry run passes meanwhile may be published behind it.
    const auto passed = source_.slot(relay_.source.slot);
    passed_xid_ = passed.facts.exists ? passed.passed_xid : 0;
    // The stream before the rest: beside a dry run a relay may go on, and what it has published by
    // now is of commits that the WAL read afterwards holds.
    stream_ = client_.stream_info(relay_.stream.name);
    identity_ = wal_.identify();
    timelines_ = wal_.timeline_history(identity_.timeline);
    const auto state = source_.slot(relay_.source.slot);
    const auto& slot = state.facts;
    const auto start =
        decide(gather_facts(relay_, client_, stream_, identity_, timelines_, row_, epochs_, slot));
    std::optional<Error> error;
    if (row_.repairing)
      error = Error{ErrorKind::kRepairUnfinished, "a repair has begun and not ended", ""};
    if (!start) error = start.error();
    if (!error && stream_) error = find_hole(client_, *stream_, row_);
    if (!error) error = publication_error(std::max(start->start_lsn, slot.confirmed));
    if (error)
      take_reason(*error);
    else
      start_ = *start;
  }

  void take_reason(const Error& error) {
    if (!is_repairable(error.kind)) throw Failure(error);
    report_.reason = std::string(info(error.kind).name) + ": " + error.context;
    report_.needs_word = is_divergence(error.kind);
    exact_ = error.kind == ErrorKind::kTimelineDiverged || error.kind == ErrorKind::kForeignMessage;
  }

  ReplicationOptions replication_options() {
    return {relay_.source.conninfo, "postrider_" + relay_.source.name, relay_.wal_sender_timeout,
            &watch_};
  }

  // Where commits have been written over the LSNs of others, nothing that both servers say of
  // themselves tells: a session finds out by decoding, and so does this.
  void compare_mark() {
    std::vector<std::string> publications = {relay_.source.publication};
    if (epochs_.any_captures())
      publications.push_back(capture_publication(relay_.source.publication));
    const bool messages = relay_.wal_store || !relay_.captures.empty() || epochs_.any_messages();
    const auto found = check_mark(replication_options(), relay_.source.slot, publications, messages,
                                  start_, identity_.timeline,
                                  options_.dry_run ? kRelayPatience : kOwnerPatience, kMarkTimeout);
    if (!found)
      take_reason(found.error());
    else
      report_.mark = *found == MarkCheck::kBusy && !options_.dry_run ? MarkCheck::kTooLong : *found;
  }

  // `from`: where the relay would begin to decode.
  std::optional<Error> publication_error(Lsn from) {
    try {
      require_publication(source_.publication(relay_.source.publication), row_.publication_version);
      if (epochs_.any_captures())
        require_capture(capture_publication(relay_.source.publication),
                        source_.capture_problem(relay_.source.name));
    } catch (const Failure& failure) {
      return failure.error();
    }
    // `migrate up` has vouched for it, and cannot give it to WAL from before.
    if (epochs_.any_captures() && from < row_.capture_from)
      return Error{ErrorKind::kPublicationMissing,
                   "the publication of captured tables was made anew at " +
                       row_.capture_from.to_string() + ", and WAL from " + from.to_string() +
                       " on is not decoded yet",
                   ""};
    return std::nullopt;
  }

  // The stream from end to end: what is kept, what is void, and which events it holds.
  void scan() {
    StreamContent unread;
    if (stream_)
      unread = {.exists = true,
                .same_incarnation = stream_->created == row_.incarnation,
                .first_seq = stream_->first_seq,
                .last_seq = stream_->last_seq};
    history_.emplace(
        SourceFacts{row_.mark, timelines_, identity_.flushed, known_epochs(row_, epochs_),
                    given_up(), unread.same_incarnation && lost_front(*stream_, row_.mark.seq),
                    void_after_},
        unread);
    if (stream_) {
      scan_.emplace(relay_, findings_);
      scan_->observe([&](const ReceivedEvent& event) { history_->take(event); });
      (void)scan_->read_to_end();
    }
    history_->end();
    report_.voided = history_->voided();
    report_.torn = history_->torn();
  }

  std::optional<OrdinalRange> newest_hole() const {
    return epochs_.empty() ? std::nullopt : epochs_.newest().hole;
  }

  // By a repair before this one: the row stands behind its hole.
  std::optional<OrdinalRange> given_up() const {
    const auto hole = newest_hole();
    return hole && !row_.mark.names_message() && row_.mark.ordinal == hole->last ? hole
                                                                                 : std::nullopt;
  }

  // Only events of the table store can be proven by their rows.
  bool is_provable() const {
    return !report_.wal_store && !epochs_.any_captures() && relay_.outboxes.empty();
  }

  // Where nothing else is carried, an event behind the checkpoint without its row was never
  // committed here, whatever both servers say: a restored backup reuses LSNs.
  void judge() {
    judge_stream();
    judge_rows();
    if (report_.needs_word) report_.suggested = suggestion();
  }

  // Rows that the stream lacks may be a relay's backlog. They are not where the slot has passed
  // them: a publication that left them out, and that was accepted since, leaves no other trace.
  void judge_rows() {
    if (!report_.reason.empty()) return;
    const auto oldest = history_->oldest_us();
    const auto lost = oldest ? count_lost(report_.missing, passed_xid_, *oldest) : std::uint64_t{0};
    if (lost > 0)
      report_.reason = "durable_events_lost: the stream lacks " + std::to_string(lost) +
                       " events that were committed before what the slot has confirmed: it will "
                       "not send them";
    else if (options_.resend)
      report_.reason = "--resend: a new slot, and the stream gets what it lacks";
  }

  void judge_stream() {
    if (report_.voided.empty() && !(is_provable() && unproven_)) return;
    if (report_.reason.empty() && !history_->gap().empty())
      report_.reason = "durable_events_lost: the stream lacks " + history_->gap() +
                       ", which it acknowledged, and holds later ones";
    if (report_.reason.empty() && void_after_ && !unproven_)
      throw Failure(ErrorKind::kConfiguration,
                    "every event behind ordinal " + std::to_string(*void_after_) +
                        " has its row in this source: nothing says that they are void",
                    "leave out --void-after; `postrider repair --dry-run` says what is wrong");
    if (report_.reason.empty())
      report_.reason = "history_differs: the stream holds events that this source does not have";
    report_.needs_word = true;
  }

  // Deleted messages do not come back: a word that gives up more than anything speaks against is
  // asked for twice.
  void require_word_is_meant() const {
    const auto least = report_.suggested.value_or(row_.mark.ordinal);
    if (*options_.void_after >= least || options_.void_more || begun_) return;
    throw Failure(
        ErrorKind::kConfiguration,
        "--void-after " + std::to_string(*options_.void_after) + " gives up ordinals up to " +
            std::to_string(least) +
            " as well, which nothing says are void: their messages would be deleted",
        "--void-after " + std::to_string(least) + "; or, where you know better, add --void-more");
  }

  void note_unproven(std::uint64_t ordinal) {
    unproven_ = unproven_ ? std::min(*unproven_, ordinal) : ordinal;
  }

  // Rows against what is kept of the stream.
  void compare(OutboxRows&& rows) {
    Spill<OutboxRow> spilled(kPartitions);
    std::vector<OutboxRow> page;
    while (rows.next(page))
      for (const auto& row : page) spilled.add(partition_of(row.id), row);
    MissingRows found;
    unproven_ = history_->first_row_change();
    for (std::size_t i = 0; i < kPartitions; ++i) {
      auto part = spilled.read(i);
      auto events = scan_ ? scan_->events().read(i) : std::vector<StoredEvent>();
      if (const auto first = first_unproven(part, events, row_.mark.ordinal)) note_unproven(*first);
      find_missing(std::move(part), std::move(events), report_.plan.good, horizon_us(), found);
    }
    report_.missing = std::move(found.rows);
    report_.present = found.present;
    report_.uncertain = found.uncertain;
    std::ranges::sort(report_.missing, [](const auto& a, const auto& b) {
      return std::tie(a.xid, a.command) < std::tie(b.xid, b.command);
    });
  }

  // A fork and a foreign message say where the history ends. Where LSNs were used again only the
  // rows do.
  std::optional<std::uint64_t> suggestion() const {
    const bool by_rows = history_->gap().empty() && (is_provable() || !exact_);
    return history_->newest_sure(by_rows ? unproven_ : std::nullopt);
  }

  // A transaction that began after the newest event known to be published was committed, or after
  // the oldest that the stream still holds, is not among those that have aged out.
  std::optional<std::int64_t> horizon_us() const {
    if (!scan_) return std::nullopt;
    auto horizon = scan_->horizon_us();
    if (const auto gone = history_->gone_until_us()) horizon = std::max(horizon.value_or(0), *gone);
    if (horizon && history_->newest_published_us() > 0)
      horizon = std::min(*horizon, history_->newest_published_us());
    return horizon;
  }

  void carry_out(RepairRow& row) {
    if (auto refused = obstacle()) throw Failure(std::move(*refused));
    POSTRIDER_FAILPOINT("repair.before_begin");
    row.begin({report_.plan.next_ordinal - 1, report_.plan.good, void_after_}, kWriterTimeout);
    POSTRIDER_FAILPOINT("repair.after_begin");
    delete_void(row);
    require_owned();
    const auto slot = source_.slot(relay_.source.slot);
    if (slot.facts.exists) drop_slot(slot.facts);
    POSTRIDER_FAILPOINT("repair.after_drop_slot");
    require_owned();
    SourceSnapshot snapshot(relay_.source.conninfo);
    if (!snapshot.take_with_slot(relay_.source.slot, kSlotTimeout))
      throw Failure(ErrorKind::kPostgresUnavailable,
                    "making slot " + relay_.source.slot + " waited " +
                        std::to_string(kSlotTimeout.count()) + " s for transactions that are open",
                    "end them (pg_stat_activity, pg_prepared_xacts) and run the repair again");
    POSTRIDER_FAILPOINT("repair.after_make_slot");
    compare(OutboxRows(relay_.source.conninfo, snapshot.name()));
    // Without one nothing was published yet, and the first will cover everything.
    if (!epochs_.empty())
      epochs_.reopen(snapshot.timeline(), snapshot.point(), report_.plan.hole,
                     history_->highest_epoch());
    require_owned();
    report_.backfills =
        row.finish({relay_.source.slot, snapshot.name(), snapshot.point(), snapshot.timeline(),
                    snapshot.system_id(), stream_ ? stream_->created : "", epochs_.to_json(),
                    epochs_.empty() ? 0 : epochs_.newest().number, history_->newest_published_us()},
                   report_.plan, report_.missing, report_.outboxes);
  }

  // Paused for long, it may have been taken for dead.
  void require_owned() const {
    if (!ownership_->held())
      throw Failure(ErrorKind::kSessionFenced, "the lock of the source was lost",
                    "run the repair again");
  }

  // Its walsender was ended; that takes a moment.
  void drop_slot(const SlotFacts& slot) {
    if (slot.other_database)
      throw Failure(ErrorKind::kSlotUnusable,
                    "slot " + relay_.source.slot + " is another database's",
                    "set source.slot to a name of its own");
    const auto deadline = Clock::now() + kOwnerPatience;
    while (!source_.drop_slot(relay_.source.slot)) {
      if (Clock::now() > deadline)
        throw Failure(
            ErrorKind::kPostgresUnavailable,
            "slot " + relay_.source.slot + " is in use and cannot be dropped",
            "stop who uses it (pg_replication_slots.active_pid) and run the repair again");
      (void)wake_.wait_for(kPoll);
    }
  }

  // What somebody has to put right before anything can begin.
  std::optional<Error> obstacle() {
    try {
      require_publications();
      require_deletable();
    } catch (const Failure& failure) {
      return failure.error();
    }
    return std::nullopt;
  }

  // A new slot decodes with them as they are, and the row vouches for that. What the capture
  // publication should hold only `migrate up` knows: what is left of it must not pass for it.
  void require_publications() {
    if (const auto publication = source_.publication(relay_.source.publication);
        !publication.problem.empty())
      require_publication(publication, row_.publication_version);  // throws, with the remedy
    if (!epochs_.any_captures()) return;
    const auto problem = source_.capture_problem(relay_.source.name);
    if (!problem.empty())
      throw Failure(ErrorKind::kPublicationMissing,
                    "publication \"" + capture_publication(relay_.source.publication) + "\" " +
                        problem + ": a repair would go on without what it has lost",
                    "`postrider migrate up` publishes what [[capture]] names; then run the repair "
                    "again (docs/capture.md, \"An altered publication\")");
  }

  void require_deletable() const {
    if (report_.plan.keep_seq == report_.plan.last_seq || !stream_ || !stream_->deny_delete) return;
    throw Failure(ErrorKind::kStreamSettings,
                  "stream \"" + stream_->name + "\" was made with deny_delete: the " +
                      std::to_string(report_.plan.last_seq - report_.plan.keep_seq) +
                      " void messages cannot be deleted",
                  "nats stream backup, restore it with a configuration without deny_delete, and "
                  "run the repair again (docs/operating.md, \"Repair\")");
  }

  void delete_void(RepairRow& row) {
    for (auto seq = report_.plan.last_seq; seq > report_.plan.keep_seq; --seq) {
      require_owned();
      // From here until its answer we do not know whether the message is there.
      const auto answer = request_deletion(seq, row);
      // A run before this one may have deleted it.
      if (const auto error = wire::find_api_error(answer);
          error && client_.message(relay_.stream.name, seq)) {
        if (is_first_deletion(seq)) row.abandon();
        throw Failure(ErrorKind::kNoPermission,
                      "the void message at sequence " + std::to_string(seq) +
                          " cannot be deleted: " + error->description,
                      "run the repair as a NATS user that may (--set nats.user=... or nats.creds)");
      }
      POSTRIDER_FAILPOINT("repair.after_delete");
    }
  }

  // Where it fails nothing was done yet: another word, or another user, may be given.
  bool is_first_deletion(std::uint64_t seq) const {
    return !begun_ && seq == report_.plan.last_seq;
  }

  // Who lacks the right is not answered. Any other silence leaves the mark: what may be deleted yet
  // must not look to a relay like a tail that has aged out.
  std::string request_deletion(std::uint64_t seq, RepairRow& row) {
    try {
      return client_.request("$JS.API.STREAM.MSG.DELETE." + relay_.stream.name,
                             nlohmann::json{{"seq", seq}}.dump());
    } catch (const Failure& failure) {
      if (failure.error().kind == ErrorKind::kNoPermission && is_first_deletion(seq)) row.abandon();
      throw;
    }
  }

  const RepairOptions& options_;
  const RelayOptions& relay_;
  SqlWatch watch_;
  Source source_;
  ReplicationConnection wal_;
  JetStreamClient client_;
  Wake wake_;
  StatusBoard board_;
  std::optional<Ownership> ownership_;

  Checkpoint row_;
  Epochs epochs_;
  Start start_;
  SystemIdentity identity_;
  TimelineHistory timelines_{1};
  std::optional<wire::StreamInfo> stream_;
  std::optional<BegunRepair> begun_;
  std::optional<std::uint64_t> void_after_;
  StreamFindings findings_{0};
  std::optional<StreamScan> scan_;
  std::optional<StreamHistory> history_;
  // The first ordinal behind the durable one that nothing of the source proves.
  std::optional<std::uint64_t> unproven_;
  std::uint64_t passed_xid_ = 0;  // the slot sends nothing of transactions below it
  bool exact_ = false;            // the servers say where the history ends
  RepairReport report_;
};

}  // namespace

RepairReport repair(const RepairOptions& options) {
  return Repair(options).run();
}

}  // namespace postrider
