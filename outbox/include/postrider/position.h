// Where a message stands in its source's history, and the header line that carries it.
//
//   Postrider-Position: v1 ordinal timeline/lsn/index[.part] xid commit-time epoch [last]
//
// ordinal      decimal; running number of the source's messages, from 1, without gaps
// timeline     8 hexadecimal digits; the timeline that owns the commit
// lsn          16 hexadecimal digits; start of the commit record (Begin.final_lsn of pgoutput)
// index        8 hexadecimal digits; from 0, among all decoded changes of the transaction
// part         4 hexadecimal digits, from 0; only for a row split into several messages
// xid          decimal; with commit-time, the fingerprint that tells two histories with equal LSNs
// apart commit-time  decimal; microseconds since 1970-01-01 UTC epoch        decimal; number of the
// settings that encoded the message last         present on the last message of its transaction
//
// One blank between fields, so one split parses it. The position alone is fixed-width, so that it
// sorts as text; it is also the message's Nats-Msg-Id.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "postrider/lsn.h"

namespace postrider {

inline constexpr std::string_view kPositionHeader = "Postrider-Position";
// On each part of a row that was split: how many parts it has, decimal. Their payloads, joined in
// order, are the row's.
inline constexpr std::string_view kPartsHeader = "Postrider-Parts";
// On the first message behind a hole that a repair left: "FIRST-LAST", the ordinals that are not in
// the stream before it and never will be, both inclusive, decimal.
inline constexpr std::string_view kHoleHeader = "Postrider-Hole";

struct OrdinalRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // at least first

  friend constexpr bool operator==(const OrdinalRange&, const OrdinalRange&) = default;

  // True when these are just the ordinals between the two.
  [[nodiscard]] constexpr bool lies_between(std::uint64_t before, std::uint64_t behind) const {
    return first == before + 1 && last + 1 == behind;
  }
  [[nodiscard]] std::string to_string() const;
  // Strict; nothing for anything else.
  [[nodiscard]] static std::optional<OrdinalRange> parse(std::string_view text);
};

struct Position {
  std::uint32_t timeline = 0;
  Lsn commit_lsn;
  std::uint32_t index = 0;
  std::optional<std::uint16_t> part;  // an absent part sorts before part 0

  friend constexpr auto operator<=>(const Position&, const Position&) = default;

  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] static std::optional<Position> parse(std::string_view text);
};

// Tells two histories apart that reached the same LSN: a restored server reuses its LSNs and even
// its transaction ids, but not its commit times.
struct Fingerprint {
  std::uint32_t xid = 0;
  std::int64_t commit_time_us = 0;  // microseconds since 1970-01-01 UTC

  friend constexpr bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

// All that the header says.
struct PositionHeader {
  std::uint64_t ordinal = 0;  // from 1
  Position position;
  Fingerprint fingerprint;
  std::uint32_t epoch = 0;
  bool last = false;

  friend constexpr bool operator==(const PositionHeader&, const PositionHeader&) = default;

  // The header's value, without its name.
  [[nodiscard]] std::string to_string() const;
  // Appends the value to `out`: what the relay uses, without a temporary.
  void append_to(std::string& out) const;
  // Strict: one blank between fields, no sign, no surplus. Nothing for anything else.
  [[nodiscard]] static std::optional<PositionHeader> parse(std::string_view text);
};

}  // namespace postrider
