#include "daemon/repair/print_repair.h"

#include <nlohmann/json.hpp>

namespace postrider {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kListed = 20;

std::string more(std::size_t all) {
  return all <= kListed
             ? ""
             : "            and " + std::to_string(all - kListed) + " more (--json lists all)\n";
}

std::string order_of(const RepairReport& report) {
  return report.by_commit_time
             ? "in the order of their commits, by commit time"
             : "in the order of their transaction ids, which is not always that of their commits "
               "(track_commit_timestamp is off)";
}

void list_rows(std::string& text, const RepairReport& report) {
  text += "send again  " + std::to_string(report.missing.size()) +
          " events that the stream lacks; it holds " + std::to_string(report.present) + "\n";
  if (report.missing.empty()) return;
  text += "order       " + order_of(report) + "\n";
  for (std::size_t i = 0; i < report.missing.size() && i < kListed; ++i)
    text += "            " + uuid_text(report.missing[i].id) + " of transaction " +
            std::to_string(report.missing[i].xid) + "\n";
  text += more(report.missing.size());
}

// A relay that is behind looks the same.
std::string could_not_tell(const RepairReport& report, const RepairOptions& options) {
  std::string text = "source " + options.relay.source.name + ": " +
                     std::to_string(report.missing.size()) + " events are not in stream " +
                     options.relay.stream.name + ", and may be on their way\n";
  list_rows(text, report);
  return text +
         "nothing was changed. Let the relay catch up (postrider relay --until-caught-up) and ask "
         "again.\nWhat is missing then, or where the relay halts, was left out by a publication:\n"
         "  postrider repair --resend\n";
}

void list_void(std::string& text, const RepairReport& report) {
  if (report.torn > 0)
    text += "delete      " + std::to_string(report.torn) +
            " messages of a transaction that has no end in the stream; it is sent again whole\n";
  if (report.voided.empty()) return;
  text += "delete      " + std::to_string(report.voided.size()) + " void messages\n";
  for (std::size_t i = 0; i < report.voided.size() && i < kListed; ++i) {
    const auto& message = report.voided[i];
    text += "            sequence " + std::to_string(message.seq) + " on " + message.subject;
    if (message.ordinal != 0)
      text += ", ordinal " + std::to_string(message.ordinal) + " at " + message.position;
    else
      text += ", not of this source's relay";
    text += message.id.empty() ? "\n" : ", event " + message.id + "\n";
  }
  text += more(report.voided.size());
}

void list_limits(std::string& text, const RepairReport& report) {
  if (report.uncertain > 0)
    text += "not sent    " + std::to_string(report.uncertain) +
            " rows whose events may have aged out of the stream: they are older than it\n";
  if (report.wal_store)
    text += "lost        events of the wal store that the stream lacks, if any: they have no row\n";
  for (const auto& table : report.outboxes)
    text += "lost        events of " + table + " that the stream lacks: emit them again yourself\n";
}

std::string ask_for_word(const RepairReport& report) {
  const std::string text =
      "nothing was changed. Stream and source disagree: say which events are void.\n";
  if (report.suggested)
    return text + "  postrider repair --void-after " + std::to_string(*report.suggested) +
           "   (everything with a higher ordinal was never committed here)\n";
  return text +
         "  Which, could not be told: no message of the stream can be read any more.\n"
         "  docs/operating.md, \"Repair\", says what to do then.\n";
}

}  // namespace

std::string to_text(const RepairReport& report, const RepairOptions& options) {
  const std::string source = "source " + options.relay.source.name;
  if (report.reason.empty() && report.missing.empty() && report.mark == MarkCheck::kTooLong)
    return "nothing was changed: " + source + " and stream " + options.relay.stream.name +
           " fit together, but for the newest message: its transaction was not decoded in time.\n"
           "A relay that is started compares it, and halts (26) where it is another.\n";
  if (report.reason.empty() && report.missing.empty())
    return "nothing to repair: " + source + " and stream " + options.relay.stream.name +
           " fit together\n";
  if (report.reason.empty()) return could_not_tell(report, options);
  std::string text = source + ": " + report.reason + "\n";
  list_void(text, report);
  if (report.plan.hole)
    text += "hole        ordinals " + report.plan.hole->to_string() +
            ": read models that have applied one of them halt and are rebuilt\n";
  list_rows(text, report);
  list_limits(text, report);
  for (const auto& backfill : report.backfills)
    text += backfill.problem.empty()
                ? "backfill    " + backfill.table +
                      (report.done ? ": ordered" : ": to be ordered") +
                      "; the relay sends it again whole\n"
                : "backfill    " + backfill.table + ": NOT ordered: " + backfill.problem + "\n";
  if (report.refused)
    text +=
        "refused     " + report.refused->context + "\n            " + report.refused->remedy + "\n";
  if (report.done)
    return text + "repaired    next ordinal " + std::to_string(report.plan.next_ordinal) +
           "; start the relay\n";
  if (report.needs_word && !report.word_given) return text + ask_for_word(report);
  return text + "nothing was changed: a dry run\n";
}

std::string to_json(const RepairReport& report, const RepairOptions& options) {
  Json json = {{"source", options.relay.source.name},
               {"reason", report.reason},
               {"done", report.done},
               {"next_ordinal", report.plan.next_ordinal},
               {"present", report.present},
               {"uncertain", report.uncertain},
               {"torn", report.torn},
               {"wal_store", report.wal_store},
               {"outboxes", report.outboxes},
               {"order", report.by_commit_time ? "commit time" : "transaction id"},
               {"void", Json::array()},
               {"missing", Json::array()},
               {"backfills", Json::array()}};
  if (report.plan.hole) json["hole"] = report.plan.hole->to_string();
  if (report.suggested) json["void_after"] = *report.suggested;
  if (report.refused) json["refused"] = report.refused->context;
  for (const auto& message : report.voided)
    json["void"].push_back({{"seq", message.seq},
                            {"ordinal", message.ordinal},
                            {"position", message.position},
                            {"subject", message.subject},
                            {"id", message.id}});
  for (const auto& row : report.missing)
    json["missing"].push_back({{"id", uuid_text(row.id)}, {"xid", row.xid}});
  for (const auto& backfill : report.backfills)
    json["backfills"].push_back({{"table", backfill.table}, {"problem", backfill.problem}});
  return json.dump() + "\n";
}

}  // namespace postrider
