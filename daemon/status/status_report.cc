#include "daemon/status/status_report.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/postgres/sql.h"
#include "daemon/migrate/captured_tables.h"
#include "relay/session_start.h"

namespace postrider {
namespace {

constexpr double kMicroseconds = 1e6;
constexpr std::int64_t kLookBackUs = 60'000'000;
// Bounds of what is read to count the backlog: a second or so on a local network.
constexpr std::size_t kRowsRead = 100'000;
constexpr std::uint64_t kMessagesRead = 128;
constexpr std::chrono::seconds kStandbysPatience{2};
constexpr std::chrono::milliseconds kStandbyPoll{100};

// Under load each standby is a little behind at every moment: only who stays so for a while counts.
std::string lasting_standbys_behind(Source& source, const StatusReport& report) {
  std::string behind;
  if (!report.slot->failover) return behind;
  const auto deadline = std::chrono::steady_clock::now() + kStandbysPatience;
  while (!(behind = source.standbys_behind(*report.flushed)).empty() &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(kStandbyPoll);
  return behind;
}

void collect_source(const RelayOptions& options, StatusReport& report) {
  Source source(options.source.conninfo, "postrider status " + options.source.name);
  report.checkpoint = source.read_checkpoint(options.source.name);
  if (!report.checkpoint) {
    report.problems.emplace_back("source " + options.source.name +
                                 " is not initialised: run `postrider migrate up`");
    return;
  }
  if (const auto epochs = Epochs::from_json(report.checkpoint->epochs_json);
      epochs && !epochs->empty())
    report.epoch = epochs->newest().number;
  report.slot = source.slot(options.source.slot);
  report.wal_sender = source.wal_sender(options.source.slot);
  report.owner = source.lock_holder(options.source.name);
  report.flushed = source.flush_lsn();
  if (const auto behind = lasting_standbys_behind(source, report); !behind.empty())
    report.problems.emplace_back(
        "events wait for standbys: " + behind +
        " in synchronized_standby_slots has not received them (see `postrider check`)");
  pqxx::nontransaction tx(source.connection());
  for (const auto& table : published_without_rule(
           tx, published_rules(options.outboxes, options.captures), options.source.publication))
    report.problems.emplace_back("table " + table +
                                 " is published and no [[capture]] names it: its changes are not "
                                 "carried (see `postrider check`)");
  if (!report.slot->facts.exists)
    report.problems.emplace_back("slot " + options.source.slot + " does not exist");
  else if (report.slot->facts.lost)
    report.problems.emplace_back("slot " + options.source.slot + " is lost: its WAL was removed");
  else if (report.slot->wal_status == "unreserved")
    report.problems.emplace_back("slot " + options.source.slot +
                                 " is about to lose WAL (max_slot_wal_keep_size)");
  if (!report.owner)
    report.problems.emplace_back("no relay owns the source");
  else if (!report.wal_sender)
    report.problems.emplace_back("a relay owns the source but does not stream: see its log");
}

void collect_broker(const RelayOptions& options, JetStreamClient& client, StatusReport& report) {
  report.stream = client.stream_info(options.stream.name);
  if (!report.stream) {
    report.problems.emplace_back("stream " + options.stream.name + " does not exist");
    return;
  }
  if (report.stream->messages == 0) return;
  const auto newest = client.message(options.stream.name, report.stream->last_seq);
  if (!newest) return;  // deleted or aged out: the relay copes
  report.published = wire::position_header(*newest);
  if (!report.published)
    report.problems.emplace_back("the stream's newest message is not the relay's: subject " +
                                 newest->subject);
}

// The newest rows of the table store whose transaction began after `since_us`.
std::vector<OutboxRow> read_newest_rows(Source& source, std::int64_t since_us) {
  pqxx::nontransaction tx(source.connection());
  const auto answer = sql::exec(
      tx,
      "SELECT id, (extract(epoch FROM created_at) * 1000000)::bigint FROM outbox.events "
      "WHERE created_at > to_timestamp($1::float8 / 1000000) ORDER BY created_at DESC LIMIT $2",
      since_us, static_cast<std::int64_t>(kRowsRead));
  std::vector<OutboxRow> rows;
  for (const auto& row : answer)
    rows.push_back({row[0].as<std::string>(), row[1].as<std::int64_t>()});
  return rows;
}

// How far the relay is known to have come in the WAL.
std::optional<Lsn> reached(const StatusReport& report) {
  if (!report.slot || !report.slot->facts.exists) return std::nullopt;
  Lsn reached = report.slot->facts.confirmed;
  if (report.published) reached = std::max(reached, report.published->position.commit_lsn);
  if (report.wal_sender && report.wal_sender->received)
    reached = std::max(reached, *report.wal_sender->received);
  return reached;
}

void compute_lag(StatusReport& report) {
  if (const auto lsn = reached(report); lsn && report.flushed)
    report.lag_bytes = report.flushed->value - std::min(report.flushed->value, lsn->value);
  if (report.published && report.checkpoint &&
      report.published->ordinal >= report.checkpoint->mark.ordinal)
    report.events_not_durable = report.published->ordinal - report.checkpoint->mark.ordinal;
  if (report.published && report.checkpoint &&
      report.published->ordinal < report.checkpoint->mark.ordinal)
    report.problems.emplace_back("the stream ends before the newest durable event, ordinal " +
                                 std::to_string(report.checkpoint->mark.ordinal));
}

// The newest messages, back to `since_us` or to kMessagesRead. Nothing when the stream does not say
// what it holds: its newest message is gone, or is not the relay's.
std::optional<NewestMessages> read_newest(const RelayOptions& options, JetStreamClient& client,
                                          const StatusReport& report, std::int64_t since_us) {
  NewestMessages newest;
  if (!report.stream || report.stream->messages == 0) return newest;
  const auto last = report.stream->last_seq;
  for (auto seq = last; seq > 0 && last - seq < kMessagesRead; --seq) {
    const auto message = client.message(options.stream.name, seq);
    if (!message) return std::nullopt;
    const auto header = wire::position_header(*message);
    if (!header) return std::nullopt;
    newest.ids.emplace(wire::find_header(message->headers, "Postrider-Id").value_or(""));
    newest.oldest_commit_us = header->fingerprint.commit_time_us;
    if (newest.oldest_commit_us <= since_us) break;
    if (seq == report.stream->first_seq && header->ordinal == 1) newest.oldest_commit_us = 0;
    if (seq == report.stream->first_seq) break;
  }
  return newest;
}

// Counts the rows that wait. Young transactions first: what is older than a minute before the
// newest message, and not in the stream, was committed by a transaction that stayed open for so
// long.
void count_unpublished(const RelayOptions& options, JetStreamClient& client, StatusReport& report) {
  if (!report.checkpoint) return;
  // A stream that is missing or empty and once held something does not say how far it went.
  if (!report.published &&
      (report.checkpoint->mark.ordinal > 0 || (report.stream && report.stream->last_seq > 0)))
    return;
  std::int64_t since = 0;
  if (report.published) since = report.published->fingerprint.commit_time_us - kLookBackUs;
  Source source(options.source.conninfo, "postrider status " + options.source.name);
  const auto rows = read_newest_rows(source, since);
  const auto newest = rows.empty() ? NewestMessages{} : read_newest(options, client, report, since);
  if (!newest) return;
  report.unpublished = find_unpublished(rows, *newest, kRowsRead);
  report.lag_seconds = 0;
  if (report.unpublished->oldest_us == 0) return;
  pqxx::nontransaction tx(source.connection());
  const auto now = tx.exec("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")[0][0]
                       .as<std::int64_t>();
  report.lag_seconds = static_cast<double>(now - report.unpublished->oldest_us) / kMicroseconds;
}

template <class Collect>
void attempt(StatusReport& report, const char* server, Collect collect) {
  try {
    collect();
  } catch (const Failure& failure) {
    report.problems.emplace_back(std::string(server) + ": " + failure.error().context);
  } catch (const pqxx::failure& failure) {
    report.problems.emplace_back(std::string(server) + ": " + failure.what());
  }
}

}  // namespace

bool StatusReport::healthy() const {
  return problems.empty() && std::ranges::all_of(readmodels, [](const ReadModelReport& readmodel) {
           return readmodel.problems.empty();
         });
}

StatusReport collect_status(const RelayOptions& options) {
  StatusReport report;
  report.source = options.source.name;
  report.stream_name = options.stream.name;
  attempt(report, "PostgreSQL", [&] { collect_source(options, report); });
  attempt(report, "NATS", [&] {
    const auto client = connect_client(options);
    collect_broker(options, *client, report);
    attempt(report, "backlog", [&] { count_unpublished(options, *client, report); });
  });
  compute_lag(report);
  return report;
}

}  // namespace postrider
