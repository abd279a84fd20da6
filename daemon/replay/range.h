// Which messages of a source's stream a replay takes. Pure.
//
//   PLACE     start | end | ordinal:N | seq:N | position | RFC 3339 time in UTC
//   position  timeline/LSN/index[.part], as Postrider-Position has it
//   time      2026-11-25T16:00:00[.ffffff]Z: when the transaction committed
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"
#include "postrider/position.h"

namespace postrider {

struct ReplayOrdinal {
  std::uint64_t ordinal = 0;
};
struct ReplaySeq {
  std::uint64_t seq = 0;
};
struct ReplayTime {
  std::int64_t us = 0;  // since 1970-01-01 UTC
};
// std::monostate: the stream's start, or its end.
using ReplayPlace = std::variant<std::monostate, ReplayOrdinal, ReplaySeq, ReplayTime, Position>;

// kConfiguration, naming `option`, when `text` is no place.
[[nodiscard]] Result<ReplayPlace> parse_replay_place(std::string_view text,
                                                     std::string_view option);

// Both ends are inclusive. A position without a part stands for all parts of its row.
struct ReplayRange {
  ReplayPlace from;
  ReplayPlace until;
  std::string
      filter;  // NATS pattern over the event's subject, without the source's name; empty: all

  [[nodiscard]] bool contains(const PositionHeader& header, std::uint64_t seq,
                              std::string_view subject) const;
  // True when neither this message nor any behind it is in the range. Never so by a time: commit
  // times may run backwards.
  [[nodiscard]] bool is_past_end(const PositionHeader& header, std::uint64_t seq) const;
  // True when neither this message nor any before it is in the range; likewise.
  [[nodiscard]] bool is_before_start(const PositionHeader& header, std::uint64_t seq) const;
  // True when messages of the range may have stood before this one, the oldest that is left.
  [[nodiscard]] bool begins_before(const PositionHeader& header, std::uint64_t seq) const;
};

}  // namespace postrider
