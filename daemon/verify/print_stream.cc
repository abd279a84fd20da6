#include "daemon/verify/print_stream.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

namespace postrider {
namespace {

using Json = nlohmann::ordered_json;

double seconds(const StreamVerdict& verdict) {
  constexpr double kMillisecond = 1000;
  return static_cast<double>(verdict.took.count()) / kMillisecond;
}

}  // namespace

std::string to_text(const StreamVerdict& verdict, const StreamNames& names) {
  std::ostringstream out;
  out << "stream " << names.stream << " against the outbox of source " << names.source << '\n'
      << "  rows that committed before " << verdict.place.to_string() << ": " << verdict.rows
      << '\n'
      << "  messages: " << verdict.messages;
  if (verdict.messages > 0)
    out << ", ordinals " << verdict.first_ordinal << " to " << verdict.last_ordinal << ", up to "
        << verdict.last_position;
  if (verdict.row_changes > 0) out << "; " << verdict.row_changes << " are row changes";
  out << '\n'
      << "  " << verdict.counts.matched << " rows found, " << verdict.counts.out_of_range
      << " may be older than the stream, " << verdict.counts.missing << " not in the stream; "
      << verdict.counts.without_row << " messages have no row (wal store, or past retention)\n";
  for (const auto& finding : verdict.findings.listed())
    out << "    " << to_string(finding.fault) << "  " << finding.what << '\n';
  if (verdict.findings.listed().size() < verdict.faults)
    out << "    and more, " << verdict.faults << " in all: --limit lists them\n";
  char took[32];
  std::snprintf(took, sizeof took, "%.1f s\n", seconds(verdict));
  out << "  " << took;
  if (!verdict.could_not_say.empty()) out << "COULD NOT SAY: " << verdict.could_not_say << '\n';
  if (verdict.differs() && verdict.counts.missing > 0 && verdict.could_not_say.empty())
    out << "  lost events: `postrider repair --resend` sends them again, with the relay stopped\n";
  if (verdict.differs())
    out << "DIFFERS\n";
  else if (verdict.could_not_say.empty())
    out << "EQUAL\n";
  return out.str();
}

std::string to_json(const StreamVerdict& verdict, const StreamNames& names) {
  Json json = {{"stream", names.stream},
               {"source", names.source},
               {"verdict", verdict.differs()               ? "differs"
                           : verdict.could_not_say.empty() ? "equal"
                                                           : "could_not_say"}};
  if (!verdict.could_not_say.empty()) json["why"] = verdict.could_not_say;
  json["lsn"] = verdict.place.to_string();
  json["rows"] = verdict.rows;
  json["messages"] = verdict.messages;
  json["row_changes"] = verdict.row_changes;
  json["first_ordinal"] = verdict.first_ordinal;
  json["last_ordinal"] = verdict.last_ordinal;
  json["last_position"] = verdict.last_position;
  json["matched"] = verdict.counts.matched;
  json["out_of_range"] = verdict.counts.out_of_range;
  json["missing"] = verdict.counts.missing;
  json["without_row"] = verdict.counts.without_row;
  json["seconds"] = seconds(verdict);
  json["faults"] = Json::object();
  for (std::size_t i = 0; i < kStreamFaults; ++i)
    json["faults"][to_string(static_cast<StreamFault>(i))] =
        verdict.findings.count(static_cast<StreamFault>(i));
  json["findings"] = Json::array();
  for (const auto& finding : verdict.findings.listed())
    json["findings"].push_back({{"fault", to_string(finding.fault)}, {"what", finding.what}});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace postrider
