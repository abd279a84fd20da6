#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "daemon/status/status_report.h"

namespace postrider {
namespace {

using Json = nlohmann::json;

std::string of_lsn(const std::optional<Lsn>& lsn) {
  return lsn ? lsn->to_string() : "?";
}

std::string of_mark(std::uint64_t ordinal, const Position& position) {
  if (ordinal == 0) return "nothing yet";
  const std::string name = "ordinal " + std::to_string(ordinal);
  // Behind a repair the row names no message.
  return position.commit_lsn.is_none() ? name : name + " at " + position.to_string();
}

std::string of_bytes(std::uint64_t bytes) {
  constexpr double kMiB = 1024.0 * 1024.0;
  char text[32];
  if (bytes < 1024UL * 1024)
    std::snprintf(text, sizeof text, "%.1f KiB", static_cast<double>(bytes) / 1024.0);
  else
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / kMiB);
  return text;
}

std::string of_unpublished(const StatusReport& report) {
  if (!report.unpublished) return "? events of the table store not in the stream";
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.1f", report.lag_seconds.value_or(0));
  return std::string(report.unpublished->at_least ? "at least " : "") +
         std::to_string(report.unpublished->rows) +
         " events of the table store not in the stream, the oldest for " + seconds + " s";
}

std::string of_lag(const StatusReport& report) {
  std::ostringstream out;
  out << (report.lag_bytes ? of_bytes(*report.lag_bytes) : "?") << " of WAL";
  out << "; " << of_unpublished(report);
  if (report.events_not_durable)
    out << "; " << *report.events_not_durable << " events published, not yet durable";
  return out.str();
}

std::string of_stream(const StatusReport& report) {
  if (!report.stream) return report.stream_name + ": ?";
  const auto& stream = *report.stream;
  return stream.name + ": " + std::to_string(stream.messages) + " messages, " +
         of_bytes(stream.bytes) + ", sequences " + std::to_string(stream.first_seq) + " to " +
         std::to_string(stream.last_seq) + ", created " + stream.created;
}

std::string of_readmodel(const ReadModelReport& readmodel) {
  std::string text = readmodel.name + ": " + readmodel.state + ", ordinal " +
                     std::to_string(readmodel.ordinal) + ", " +
                     (readmodel.lag_messages ? std::to_string(*readmodel.lag_messages) : "?") +
                     " messages behind";
  if (readmodel.parked > 0) text += ", " + std::to_string(readmodel.parked) + " parked";
  if (readmodel.rebuild_ordinal)
    text += ", being built anew at ordinal " + std::to_string(*readmodel.rebuild_ordinal);
  return text;
}

Json json_of(const ReadModelReport& readmodel) {
  Json json = {{"name", readmodel.name},
               {"state", readmodel.state},
               {"ordinal", readmodel.ordinal},
               {"lag_messages", nullptr},
               {"stopped", nullptr},
               {"parked", readmodel.parked},
               {"rebuild_ordinal", nullptr},
               {"nears_stream_start", readmodel.nears_stream_start},
               {"problems", readmodel.problems}};
  if (readmodel.lag_messages) json["lag_messages"] = *readmodel.lag_messages;
  if (!readmodel.stopped.empty()) json["stopped"] = readmodel.stopped;
  if (readmodel.rebuild_ordinal) json["rebuild_ordinal"] = *readmodel.rebuild_ordinal;
  return json;
}

}  // namespace

std::string to_text(const StatusReport& report) {
  std::ostringstream out;
  const auto line = [&out](const char* name, const std::string& value) {
    std::string padded(name);
    padded.resize(14, ' ');
    out << padded << value << '\n';
  };
  line("source", report.source);
  line("received", !report.wal_sender ? "-"
                   : report.wal_sender->received
                       ? report.wal_sender->received->to_string()
                       : "not visible: GRANT pg_read_all_stats to the relay's role");
  line("published", report.published
                        ? of_mark(report.published->ordinal, report.published->position)
                    : report.stream && report.stream->messages == 0 ? "nothing yet"
                                                                    : "?");
  line("durable", report.checkpoint
                      ? of_mark(report.checkpoint->mark.ordinal, report.checkpoint->mark.position)
                      : "?");
  line("confirmed",
       of_lsn(report.slot ? std::optional(report.slot->facts.confirmed) : std::nullopt));
  line("server", of_lsn(report.flushed));
  line("lag", of_lag(report));
  if (report.slot)
    line("WAL retained", of_bytes(static_cast<std::uint64_t>(report.slot->retained_bytes)) + " (" +
                             report.slot->wal_status + ")");
  line("stream", of_stream(report));
  line("epoch",
       (report.epoch ? std::to_string(*report.epoch) : "none yet") +
           (report.checkpoint ? ", session " + std::to_string(report.checkpoint->session) : ""));
  line("owner", report.owner ? "backend " + std::to_string(report.owner->pid) + " from " +
                                   report.owner->client + " (" + report.owner->application + ")"
                             : "nobody");
  line("slot holder", report.wal_sender ? "backend " + std::to_string(report.wal_sender->pid) +
                                              " from " + report.wal_sender->client + " (" +
                                              report.wal_sender->application + ")"
                                        : "nobody");
  for (const auto& readmodel : report.readmodels) line("read model", of_readmodel(readmodel));
  for (const auto& problem : report.problems) line("PROBLEM", problem);
  for (const auto& readmodel : report.readmodels)
    for (const auto& problem : readmodel.problems)
      line("PROBLEM", "read model " + readmodel.name + " " + problem);
  return out.str();
}

std::string to_json(const StatusReport& report) {
  const auto mark = [](std::uint64_t ordinal, const Position& position, const Fingerprint& print) {
    if (ordinal == 0) return Json(nullptr);
    return Json{{"ordinal", ordinal},
                {"position", position.to_string()},
                {"xid", print.xid},
                {"commit_time_us", print.commit_time_us}};
  };
  const auto optional = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json json = {{"source", report.source},
               {"received", nullptr},
               {"published", nullptr},
               {"durable", nullptr},
               {"confirmed", nullptr},
               {"server", nullptr},
               {"session", nullptr},
               {"epoch", optional(report.epoch)},
               {"lag",
                {{"bytes", optional(report.lag_bytes)},
                 {"seconds", optional(report.lag_seconds)},
                 {"table_events_not_published",
                  report.unpublished ? Json(report.unpublished->rows) : Json(nullptr)},
                 {"events_not_durable", optional(report.events_not_durable)}}},
               {"slot", nullptr},
               {"stream", nullptr},
               {"owner", nullptr},
               {"slot_holder", nullptr},
               {"readmodels", Json::array()},
               {"problems", report.problems}};
  for (const auto& readmodel : report.readmodels) json["readmodels"].push_back(json_of(readmodel));
  if (report.flushed) json["server"] = report.flushed->to_string();
  if (report.published)
    json["published"] =
        mark(report.published->ordinal, report.published->position, report.published->fingerprint);
  if (report.checkpoint) {
    const auto& m = report.checkpoint->mark;
    json["durable"] = mark(m.ordinal, m.position, m.fingerprint);
    json["session"] = report.checkpoint->session;
  }
  if (report.slot) {
    json["confirmed"] = report.slot->facts.confirmed.to_string();
    json["slot"] = {{"exists", report.slot->facts.exists},
                    {"wal_status", report.slot->wal_status},
                    {"restart_lsn", report.slot->restart_lsn.to_string()},
                    {"wal_retained_bytes", report.slot->retained_bytes}};
  }
  if (report.stream)
    json["stream"] = {
        {"name", report.stream->name},           {"created", report.stream->created},
        {"messages", report.stream->messages},   {"bytes", report.stream->bytes},
        {"first_seq", report.stream->first_seq}, {"last_seq", report.stream->last_seq}};
  if (report.owner)
    json["owner"] = {{"pid", report.owner->pid},
                     {"client", report.owner->client},
                     {"application", report.owner->application}};
  if (report.wal_sender) {
    if (report.wal_sender->received) json["received"] = report.wal_sender->received->to_string();
    json["slot_holder"] = {{"pid", report.wal_sender->pid},
                           {"client", report.wal_sender->client},
                           {"application", report.wal_sender->application}};
  }
  return json.dump();
}

}  // namespace postrider
