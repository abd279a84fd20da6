#include "daemon/status/status_report.h"

#include <algorithm>
#include <chrono>

#include "relay/session_start.h"

namespace postrider {
namespace {

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

void collect_broker(const RelayOptions& options, StatusReport& report) {
  const auto client = connect_broker(options);
  report.stream = client->stream_info(options.stream.name);
  if (!report.stream) {
    report.problems.emplace_back("stream " + options.stream.name + " does not exist");
    return;
  }
  if (report.stream->messages == 0) return;
  const auto newest = client->message(options.stream.name, report.stream->last_seq);
  if (!newest) return;  // deleted or aged out: the relay copes
  report.published =
      PositionHeader::parse(wire::find_header(newest->headers, kPositionHeader).value_or(""));
  if (!report.published)
    report.problems.emplace_back("the stream's newest message is not the relay's: subject " +
                                 newest->subject);
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
  if (report.lag_bytes) report.lag_seconds = 0;
  if (report.published && report.lag_bytes && *report.lag_bytes > 0) {
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
    constexpr double kMicroseconds = 1e6;
    report.lag_seconds =
        static_cast<double>(now - report.published->fingerprint.commit_time_us) / kMicroseconds;
  }
  if (report.published && report.checkpoint &&
      report.published->ordinal >= report.checkpoint->mark.ordinal)
    report.events_not_durable = report.published->ordinal - report.checkpoint->mark.ordinal;
  if (report.published && report.checkpoint &&
      report.published->ordinal < report.checkpoint->mark.ordinal)
    report.problems.emplace_back("the stream ends before the newest durable event, ordinal " +
                                 std::to_string(report.checkpoint->mark.ordinal));
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
  attempt(report, "NATS", [&] { collect_broker(options, report); });
  compute_lag(report);
  return report;
}

}  // namespace postrider
