// What the relay says over core NATS, beside the stream: how far an idle source has been read.
//
//   subject  POSTRIDER.covered.<source>
//   body     v1 system-id timeline lsn incarnation ordinal position epoch
//
// Meaning: nothing of the source follows message `ordinal` up to `lsn`. That is, every carried
// event whose commit record starts before `lsn` has an ordinal <= `ordinal`. It does not say that
// the stream holds that message already: the reader waits until it has applied it.
//
// system-id    decimal; system identifier of the source's cluster
// timeline     decimal; timeline of the source's server
// lsn          PostgreSQL's text form, "16/B374D848"
// incarnation  the stream's created time, as the broker prints it
// ordinal      decimal; 0: no message at all
// position     of that message, as in Postrider-Position; "-" when ordinal is 0
// epoch        decimal; of that message
//
// One blank between fields. A reader ignores what it cannot parse, such as the word with which
// `postrider check` tries its right to publish there. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "postrider/lsn.h"
#include "postrider/position.h"

namespace postrider {

struct CoverageNotice {
  std::string system_id;
  std::uint32_t timeline = 0;
  Lsn lsn;
  std::string incarnation;
  std::uint64_t ordinal = 0;
  Position position;  // default when ordinal is 0
  std::uint32_t epoch = 0;

  friend bool operator==(const CoverageNotice&, const CoverageNotice&) = default;

  [[nodiscard]] std::string to_string() const;
  // Strict: exactly what to_string() writes. Nothing for anything else.
  [[nodiscard]] static std::optional<CoverageNotice> parse(std::string_view text);
};

// Where a source's notices are published. Upper case, because source names are lower case: no
// stream's subjects `<source>.>` can hold it, and so no stream stores a notice.
[[nodiscard]] std::string coverage_subject(std::string_view source);

}  // namespace postrider
