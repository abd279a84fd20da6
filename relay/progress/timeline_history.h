// Which timeline owns which part of the WAL.
//
// A promotion ends one timeline at its switch point and begins another there: WAL before the switch
// point belongs to the old timeline, WAL at or after it to a later one. Source: PostgreSQL
// documentation, "Timelines"; the file that TIMELINE_HISTORY returns.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "postrider/lsn.h"

namespace postrider {

class TimelineHistory {
 public:
  // A server that was never promoted: its timeline owns all of the WAL.
  explicit TimelineHistory(std::uint32_t current) : current_(current) {}

  // Reads the history file of timeline `current`: lines of "timeline <tab> switch point <tab>
  // reason". Nothing when the text is not of that form or its timelines do not rise.
  [[nodiscard]] static std::optional<TimelineHistory> parse(std::uint32_t current,
                                                            std::string_view text);

  [[nodiscard]] std::uint32_t current() const { return current_; }
  // The timeline that owns a record starting at `lsn`.
  [[nodiscard]] std::uint32_t owner(Lsn lsn) const;
  // True when a record at `lsn` of `timeline` is part of this server's history.
  [[nodiscard]] bool contains(std::uint32_t timeline, Lsn lsn) const {
    return owner(lsn) == timeline;
  }

 private:
  struct Ended {
    std::uint32_t timeline;
    Lsn switch_point;  // exclusive end
  };
  std::uint32_t current_;
  std::vector<Ended> ended_;  // rising
};

}  // namespace postrider
