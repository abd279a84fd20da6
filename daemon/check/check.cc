#include "daemon/check/check.h"

#include <algorithm>
#include <cstdio>
#include <ostream>
#include <sstream>

#include "daemon/check/check_broker.h"
#include "daemon/check/check_source.h"

namespace postrider {
namespace {

const char* to_string(CheckLevel level) {
  switch (level) {
    case CheckLevel::kOk:
      return "ok";
    case CheckLevel::kWarn:
      return "warn";
    case CheckLevel::kFail:
      return "FAIL";
    case CheckLevel::kUnknown:
      return "?";
  }
  return "?";
}

}  // namespace

std::vector<CheckLine> check_all(const RelayOptions& options) {
  std::vector<CheckLine> lines;
  const auto limits = check_source(options, lines);
  check_broker(options, limits, lines);
  return lines;
}

bool print_checks(const std::vector<CheckLine>& lines, std::ostream& out) {
  std::size_t width = 0;
  for (const auto& line : lines) width = std::max(width, line.subject.size());
  bool good = true;
  for (const auto& line : lines) {
    std::string level = to_string(line.level);
    level.resize(5, ' ');
    out << level << line.subject << std::string(width - line.subject.size() + 2, ' ') << line.found
        << '\n';
    if (!line.remedy.empty()) out << "       -> " << line.remedy << '\n';
    good = good && line.level != CheckLevel::kFail && line.level != CheckLevel::kUnknown;
  }
  return good;
}

}  // namespace postrider
