#include "daemon/verify/print_readmodel.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

namespace postrider {
namespace {

using Json = nlohmann::ordered_json;

std::string seconds(std::chrono::milliseconds time) {
  constexpr double kMillisecond = 1000;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(time.count()) / kMillisecond);
  return text;
}

const char* verdict_of(const ReadModelVerdict& verdict) {
  if (!verdict.could_not_say.empty()) return "could_not_say";
  return verdict.differs() ? "differs" : "equal";
}

std::string times(std::uint64_t count) {
  return count == 1 ? "" : " (" + std::to_string(count) + " times)";
}

void print(std::ostream& out, const Difference& difference) {
  out << "    " << to_string(difference.kind) << "  key " << difference.key << '\n';
  if (difference.source_row)
    out << "      source      " << *difference.source_row << times(difference.source_count) << '\n';
  if (difference.target_row)
    out << "      read model  " << *difference.target_row << times(difference.target_count) << '\n';
}

void print(std::ostream& out, const ComparisonResult& result) {
  out << "  " << result.name << ": " << result.source_rows << " rows in the source, "
      << result.target_rows << " in the read model, " << kRanges << " ranges, "
      << (result.equal() ? "equal" : std::to_string(result.ranges_differing) + " differ") << ", "
      << seconds(result.took) << '\n';
  for (const auto& difference : result.differences.rows) print(out, difference);
  if (!result.differences.complete) out << "    and more: --limit lists them\n";
}

Json to_object(const Difference& difference) {
  Json json = {{"kind", to_string(difference.kind)}, {"key", difference.key}};
  json["source"] = difference.source_row ? Json(*difference.source_row) : Json();
  json["target"] = difference.target_row ? Json(*difference.target_row) : Json();
  json["source_count"] = difference.source_count;
  json["target_count"] = difference.target_count;
  return json;
}

Json to_object(const ComparisonResult& result) {
  Json json = {{"name", result.name},
               {"equal", result.equal()},
               {"source_rows", result.source_rows},
               {"target_rows", result.target_rows},
               {"ranges", kRanges},
               {"ranges_differing", result.ranges_differing},
               {"seconds", static_cast<double>(result.took.count()) / 1000},
               {"complete", result.differences.complete},
               {"differences", Json::array()}};
  for (const auto& row : result.differences.rows) json["differences"].push_back(to_object(row));
  return json;
}

}  // namespace

std::string to_text(const ReadModelVerdict& verdict, const VerifiedNames& names) {
  std::ostringstream out;
  out << "read model " << names.readmodel << " against source " << names.source << '\n';
  if (!verdict.point.is_none())
    out << "  at P = " << verdict.point.to_string() << ", timeline " << verdict.timeline
        << ": what committed before it\n";
  if (!verdict.could_not_say.empty()) {
    out << "COULD NOT SAY: " << verdict.could_not_say << '\n';
    return out.str();
  }
  if (verdict.ordinal == 0)
    out << "  nothing is applied\n";
  else
    out << "  applied up to ordinal " << verdict.ordinal << " at " << verdict.position << '\n';
  for (const auto& result : verdict.comparisons) print(out, result);
  if (verdict.parked > 0)
    out << "  " << verdict.parked
        << " source transactions are parked: the read model lacks them by policy\n";
  out << "  applying was held for " << verdict.held.count() << " ms; " << seconds(verdict.took)
      << " in all\n"
      << (verdict.differs() ? "DIFFERS\n" : "EQUAL\n");
  return out.str();
}

std::string to_json(const ReadModelVerdict& verdict, const VerifiedNames& names) {
  Json json = {
      {"readmodel", names.readmodel}, {"source", names.source}, {"verdict", verdict_of(verdict)}};
  if (!verdict.could_not_say.empty()) json["why"] = verdict.could_not_say;
  json["timeline"] = verdict.timeline;
  json["lsn"] = verdict.point.to_string();
  json["ordinal"] = verdict.ordinal;
  json["position"] = verdict.position;
  json["parked"] = verdict.parked;
  json["held_ms"] = verdict.held.count();
  json["seconds"] = static_cast<double>(verdict.took.count()) / 1000;
  json["comparisons"] = Json::array();
  for (const auto& result : verdict.comparisons) json["comparisons"].push_back(to_object(result));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace postrider
