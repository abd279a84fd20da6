#include "base/coverage_notice.h"

namespace postrider {
std::string CoverageNotice::to_string() const {
  return {};
}
std::optional<CoverageNotice> CoverageNotice::parse(std::string_view) {
  return std::nullopt;
}
std::string coverage_subject(std::string_view source) {
  return "POSTRIDER.covered." + std::string(source);
}
}  // namespace postrider
