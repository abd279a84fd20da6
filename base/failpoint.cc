#include "base/failpoint.h"

#ifdef POSTRIDER_FAILPOINTS

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <list>
#include <string>
#include <string_view>

namespace postrider {
namespace {

struct Armed {
  std::string name;
  int signal = 0;
  long at = 1;
  std::atomic<long> passes{0};
};

void arm(std::list<Armed>& armed, std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return;
  std::string_view action = text.substr(equals + 1);
  long at = 1;
  if (const auto mark = action.find('@'); mark != std::string_view::npos) {
    at = std::strtol(std::string(action.substr(mark + 1)).c_str(), nullptr, 10);
    action = action.substr(0, mark);
  }
  auto& point = armed.emplace_back();
  point.name = text.substr(0, equals);
  point.signal = action == "stop" ? SIGSTOP : SIGKILL;
  point.at = at;
}

std::list<Armed>& armed_points() {
  static std::list<Armed> points = [] {
    std::list<Armed> armed;
    const char* environment = std::getenv("POSTRIDER_FAILPOINTS");
    std::string_view rest = environment == nullptr ? "" : environment;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      arm(armed, rest.substr(0, comma));
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    }
    return armed;
  }();
  return points;
}

}  // namespace

void pass_failpoint(const char* name) {
  for (auto& point : armed_points())
    // To this thread: one to the process may stop another first, while this one runs on.
    if (point.name == name && ++point.passes == point.at) ::raise(point.signal);
}

}  // namespace postrider

#endif
