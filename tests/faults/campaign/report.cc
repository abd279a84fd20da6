#include "tests/faults/campaign/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/faults/campaign/plan.h"

namespace postrider::campaign {
namespace {

const char* name_of_role(Role role) {
  return role == Role::kRelay ? "relay" : "applier";
}

std::string fixed(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string scientific(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.1e", value);
  return text;
}

// Seen n times in so many trials; when never, what the rate is below with 95% confidence.
std::string with_bound(std::uint64_t found, std::uint64_t trials) {
  constexpr double kRuleOfThree = 3.0;
  auto text = std::to_string(found);
  if (found == 0 && trials > 0)
    text += " (95%: below " + scientific(kRuleOfThree / static_cast<double>(trials)) + ")";
  return text;
}

std::string to_markdown(const Report& report) {
  std::ostringstream out;
  out << "# Fault campaign: " << (report.good() ? "passed" : "FAILED") << "\n\n`" << report.command
      << "`\n\nSeed " << report.seed << ", revision " << report.revision << ", " << report.postgres
      << ", " << report.broker << ". " << report.rounds << " rounds in "
      << fixed(report.seconds / 60, 1) << " minutes.\n\n| | |\n|---|---|\n"
      << "| faults | " << report.faults() << " |\n| events checked | " << report.stream.events
      << " |\n| transactions in the stream | " << report.stream.transactions
      << " |\n| transactions tried, of them in doubt | " << report.attempts << ", "
      << report.unknown << " |\n| reads of the read models | " << report.reads
      << " |\n| acknowledged, destroyed, published again | " << report.destroyed << " |\n";
  const auto events = report.stream.events;
  out << "| lost | " << with_bound(report.stream.lost, events) << " |\n| duplicated | "
      << with_bound(report.stream.duplicated, events) << " |\n| reordered | "
      << with_bound(report.stream.reordered, events) << " |\n| torn | "
      << with_bound(report.stream.torn, report.stream.transactions) << " |\n| phantom | "
      << with_bound(report.stream.phantom, events) << " |\n| malformed | "
      << with_bound(report.stream.malformed, events) << " |\n| other problems | "
      << report.problems.size() << " |\n| most WAL retained | " << report.retained_peak / 1048576
      << " MiB |\n";
  for (const auto& [role, peak] : report.peaks)
    out << "| largest " << name_of_role(role) << " | " << peak.resident_kib / 1024 << " MiB, "
        << peak.files << " files, " << peak.threads << " threads |\n";
  out << "\n| fault | times | recovered after, ms: median | p99 | most |\n|---|---|---|---|---|\n";
  for (const auto& [kind, times] : report.recovery_ms)
    out << "| " << kind << " | " << times.size() << " | " << fixed(quantile(times, 0.5), 0) << " | "
        << fixed(quantile(times, 0.99), 0) << " | " << fixed(quantile(times, 1), 0) << " |\n";
  out << "\nEnds of processes:";
  for (const auto& [end, times] : report.exits) out << " " << end << " (" << times << ")";
  out << "\n";
  for (const auto& problem : report.stream.problems) out << "\n- " << problem;
  for (const auto& problem : report.problems) out << "\n- " << problem;
  out << "\n";
  return out.str();
}

nlohmann::json to_json(const Report& report) {
  nlohmann::json json = {{"good", report.good()},
                         {"seed", report.seed},
                         {"command", report.command},
                         {"revision", report.revision},
                         {"postgresql", report.postgres},
                         {"nats_server", report.broker},
                         {"rounds", report.rounds},
                         {"seconds", report.seconds},
                         {"faults", report.faults()},
                         {"events", report.stream.events},
                         {"transactions", report.stream.transactions},
                         {"attempts", report.attempts},
                         {"in_doubt", report.unknown},
                         {"reads", report.reads},
                         {"destroyed_and_repaired", report.destroyed},
                         {"lost", report.stream.lost},
                         {"duplicated", report.stream.duplicated},
                         {"reordered", report.stream.reordered},
                         {"torn", report.stream.torn},
                         {"phantom", report.stream.phantom},
                         {"malformed", report.stream.malformed},
                         {"wal_retained_peak_bytes", report.retained_peak},
                         {"exits", report.exits},
                         {"problems", report.problems}};
  for (const auto& problem : report.stream.problems) json["problems"].push_back(problem);
  for (const auto& [role, peak] : report.peaks)
    json["peaks"][name_of_role(role)] = {
        {"resident_kib", peak.resident_kib}, {"files", peak.files}, {"threads", peak.threads}};
  for (const auto& [kind, times] : report.recovery_ms)
    json["recovery_ms"][kind] = {{"times", times.size()},
                                 {"p50", quantile(times, 0.5)},
                                 {"p99", quantile(times, 0.99)},
                                 {"max", quantile(times, 1)}};
  return json;
}

}  // namespace

std::uint64_t Report::faults() const {
  std::uint64_t count = 0;
  for (const auto& [kind, times] : recovery_ms)
    if (kind != name_of(Kind::kNone)) count += times.size();
  return count;
}

void Report::add(const Report& round) {
  rounds += round.rounds;
  seconds += round.seconds;
  stream.events += round.stream.events;
  stream.transactions += round.stream.transactions;
  stream.lost += round.stream.lost;
  stream.duplicated += round.stream.duplicated;
  stream.reordered += round.stream.reordered;
  stream.torn += round.stream.torn;
  stream.phantom += round.stream.phantom;
  stream.malformed += round.stream.malformed;
  stream.problems.insert(stream.problems.end(), round.stream.problems.begin(),
                         round.stream.problems.end());
  attempts += round.attempts;
  unknown += round.unknown;
  reads += round.reads;
  destroyed += round.destroyed;
  retained_peak = std::max(retained_peak, round.retained_peak);
  problems.insert(problems.end(), round.problems.begin(), round.problems.end());
  for (const auto& [kind, times] : round.recovery_ms)
    recovery_ms[kind].insert(recovery_ms[kind].end(), times.begin(), times.end());
  for (const auto& [end, times] : round.exits) exits[end] += times;
  for (const auto& [role, peak] : round.peaks) {
    auto& mine = peaks[role];
    mine.resident_kib = std::max(mine.resident_kib, peak.resident_kib);
    mine.files = std::max(mine.files, peak.files);
    mine.threads = std::max(mine.threads, peak.threads);
  }
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

void write_report(const Report& report, const std::filesystem::path& folder) {
  std::ofstream(folder / "report.json") << to_json(report).dump(2) << '\n';
  std::ofstream(folder / "report.md") << to_markdown(report);
}

}  // namespace postrider::campaign
