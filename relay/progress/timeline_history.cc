#include "relay/progress/timeline_history.h"

#include <charconv>

namespace postrider {

std::optional<TimelineHistory> TimelineHistory::parse(std::uint32_t current,
                                                      std::string_view text) {
  TimelineHistory history(current);
  while (!text.empty()) {
    const auto newline = text.find('\n');
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos || line[0] == '#') continue;

    const auto first_tab = line.find('\t');
    if (first_tab == std::string_view::npos) return std::nullopt;
    const auto second_tab = line.find('\t', first_tab + 1);
    std::uint32_t timeline = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + first_tab, timeline);
    const auto lsn = Lsn::parse(line.substr(first_tab + 1, second_tab == std::string_view::npos
                                                               ? second_tab
                                                               : second_tab - first_tab - 1));
    if (error != std::errc{} || end != line.data() + first_tab || !lsn) return std::nullopt;
    const std::uint32_t previous = history.ended_.empty() ? 0 : history.ended_.back().timeline;
    if (timeline <= previous || timeline >= current) return std::nullopt;
    history.ended_.push_back({timeline, *lsn});
  }
  return history;
}

std::uint32_t TimelineHistory::owner(Lsn lsn) const {
  for (const auto& ended : ended_)
    if (lsn < ended.switch_point) return ended.timeline;
  return current_;
}

}  // namespace postrider
