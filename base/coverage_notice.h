// What the relay says over core NATS: nothing of the source follows message `ordinal` up to `lsn`.
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
  Position position;
  std::uint32_t epoch = 0;

  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] static std::optional<CoverageNotice> parse(std::string_view text);
};

[[nodiscard]] std::string coverage_subject(std::string_view source);

}  // namespace postrider
