#include "daemon/status/readmodel_report.h"

#include <chrono>
#include <memory>
#include <variant>

#include "base/jetstream/connection.h"
#include "base/postgres/conninfo.h"
#include "base/postgres/sql.h"
#include "postrider/position.h"
#include "readmodel/postgres/target.h"
#include "readmodel/progress/place.h"
#include "readmodel/progress/retention.h"

namespace postrider {
namespace {

constexpr std::chrono::milliseconds kConnectTimeout{2000};

struct Seen {
  Cursor cursor;  // incarnation, sequence and ordinal alone
  std::int64_t commit_time_us = 0;
};

std::optional<Seen> collect_target(pqxx::connection& connection, ReadModelReport& report) {
  pqxx::work tx(connection);
  const auto cursors =
      sql::exec(tx, "SELECT incarnation, seq, ordinal FROM postrider.cursor WHERE readmodel = $1",
                report.name);
  if (cursors.empty()) {
    report.state = "never";
    report.problems.emplace_back("was never applied: start `postrider apply`");
    return std::nullopt;
  }
  Seen seen;
  seen.cursor.incarnation = cursors[0][0].as<std::string>();
  seen.cursor.seq = cursors[0][1].as<std::uint64_t>();
  report.ordinal = seen.cursor.ordinal = cursors[0][2].as<std::uint64_t>();
  report.parked =
      sql::exec(tx, "SELECT count(*) FROM postrider.parked WHERE readmodel = $1", report.name)[0][0]
          .as<std::uint64_t>();
  const auto rebuild = sql::exec(tx, "SELECT ordinal FROM postrider.cursor WHERE readmodel = $1",
                                 report.name + "/rebuild");
  if (!rebuild.empty()) report.rebuild_ordinal = rebuild[0][0].as<std::uint64_t>();
  const auto stopped = sql::exec(
      tx,
      "SELECT 'at ' || position || ' (ordinal ' || first_ordinal || '): ' || projection || ': ' || "
      "error FROM postrider.stopped WHERE readmodel = $1",
      report.name);
  tx.commit();
  const bool applied = is_applied_by_somebody(connection, report.name);
  report.state = applied ? "applied" : "nobody";
  if (!applied) report.problems.emplace_back("no process applies it");
  if (!stopped.empty()) {
    report.state = "stopped";
    report.stopped = stopped[0][0].as<std::string>();
    report.problems.emplace_back("is stopped " + report.stopped + "; `postrider apply retry " +
                                 report.name + "` or `skip`");
  }
  return seen;
}

void collect_stream(const ReadModelOptions& options, const Cursor& cursor,
                    ReadModelReport& report) {
  NatsConnection nats(options.nats, "postrider status " + options.name, kConnectTimeout,
                      Mailbox<std::monostate>::open());
  const auto stream = nats.stream_info(options.stream);
  if (!stream) {
    report.problems.emplace_back("its stream " + options.stream + " does not exist");
    return;
  }
  const auto place =
      place_in(cursor, StreamView{stream->created, stream->first_seq, stream->last_seq});
  // Until the stream holds again what was applied, nobody can say how far behind it is.
  const auto* const wait = place ? std::get_if<WaitForStream>(&*place) : nullptr;
  if (wait != nullptr) {
    report.problems.emplace_back("waits: the stream ends before what it has applied (" + wait->why +
                                 "): it goes on once that is published again");
    return;
  }
  if (place && std::holds_alternative<SearchByOrdinal>(*place)) {
    report.problems.emplace_back(
        "its stream " + options.stream + " was made anew: it goes on once that holds ordinal " +
        std::to_string(cursor.ordinal) + " again");
    return;
  }
  report.lag_messages = stream->last_seq > cursor.seq ? stream->last_seq - cursor.seq : 0;
  if (!place) {
    report.state = "behind";
    report.problems.emplace_back(place.error().context + ": " + place.error().remedy);
    return;
  }
  if (report.lag_messages == 0U) return;
  const auto next = nats.message_from(options.stream, cursor.seq + 1, options.source + ".>");
  if (!next) return;
  const auto header = wire::position_header(*next);
  const auto now_us = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  report.nears_stream_start = header && nears_removal(header->fingerprint.commit_time_us, now_us,
                                                      stream->max_age, options.retention_warning);
  if (report.nears_stream_start)
    report.problems.emplace_back(
        "nears the stream's start: max_age will soon remove what it has not applied");
}

ReadModelReport collect(const ReadModelOptions& options) {
  ReadModelReport report;
  report.name = options.name;
  std::optional<Seen> seen;
  try {
    pqxx::connection connection(with_defaults(options.target_conninfo, liveness_defaults()));
    seen = collect_target(connection, report);
  } catch (const Failure& failure) {
    report.problems.emplace_back("target database: " + failure.error().context);
  } catch (const pqxx::failure& failure) {
    report.problems.emplace_back(std::string("target database: ") + failure.what());
  }
  if (!seen) return report;
  try {
    collect_stream(options, seen->cursor, report);
  } catch (const Failure& failure) {
    report.problems.emplace_back("NATS: " + failure.error().context);
  }
  return report;
}

}  // namespace

std::vector<ReadModelReport> collect_readmodels(const std::vector<ReadModelConfig>& readmodels) {
  std::vector<ReadModelReport> reports;
  for (const auto& readmodel : readmodels) reports.push_back(collect(readmodel.options));
  return reports;
}

}  // namespace postrider
