// What a campaign found, over its rounds: as JSON, as Markdown.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/faults/campaign/fleet.h"
#include "tests/faults/campaign/stream_checker.h"

namespace postrider::campaign {

struct Report {
  std::uint64_t seed = 0;
  std::string command;
  std::string revision;
  std::string postgres;
  std::string broker;
  std::uint64_t rounds = 0;
  double seconds = 0;
  StreamVerdict stream;
  std::uint64_t attempts = 0;   // transactions of the writers, with those rolled back
  std::uint64_t unknown = 0;    // of them, in doubt
  std::uint64_t reads = 0;      // of the read models, under faults
  std::uint64_t destroyed = 0;  // acknowledged messages that the broker lost again
  std::map<std::string, std::vector<double>> recovery_ms;  // by kind of fault
  std::map<Role, Resources> peaks;
  std::uint64_t retained_peak = 0;  // bytes of WAL
  std::map<std::string, std::uint64_t> exits;
  std::vector<std::string> problems;

  [[nodiscard]] std::uint64_t faults() const;  // without the periods that have none
  [[nodiscard]] bool good() const { return problems.empty() && stream.bad() == 0; }
  void add(const Report& round);
};

// The value that `share` of them do not exceed; 0 of none.
[[nodiscard]] double quantile(std::vector<double> values, double share);
// Writes report.json and report.md.
void write_report(const Report& report, const std::filesystem::path& folder);

}  // namespace postrider::campaign
