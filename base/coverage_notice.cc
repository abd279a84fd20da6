#include "base/coverage_notice.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace postrider {
namespace {

constexpr std::string_view kVersion = "v1";
constexpr std::string_view kNoPosition = "-";

// Splits at single blanks into exactly `N` fields, none of them empty.
template <std::size_t N>
std::optional<std::array<std::string_view, N>> split(std::string_view text) {
  std::array<std::string_view, N> fields;
  for (std::size_t i = 0; i < N; ++i) {
    const auto end = i + 1 < N ? text.find(' ') : text.size();
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    fields[i] = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return fields;
}

template <class T>
std::optional<T> decimal(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

std::string CoverageNotice::to_string() const {
  std::string text(kVersion);
  const auto add = [&text](std::string_view field) {
    text += ' ';
    text += field;
  };
  add(system_id);
  add(std::to_string(timeline));
  add(lsn.to_string());
  add(incarnation);
  add(std::to_string(ordinal));
  add(ordinal == 0 ? std::string(kNoPosition) : position.to_string());
  add(std::to_string(epoch));
  return text;
}

std::optional<CoverageNotice> CoverageNotice::parse(std::string_view text) {
  const auto fields = split<8>(text);
  if (!fields || (*fields)[0] != kVersion) return std::nullopt;
  const auto system = decimal<std::uint64_t>((*fields)[1]);
  const auto timeline = decimal<std::uint32_t>((*fields)[2]);
  const auto lsn = Lsn::parse((*fields)[3]);
  const auto ordinal = decimal<std::uint64_t>((*fields)[5]);
  const auto epoch = decimal<std::uint32_t>((*fields)[7]);
  if (!system || !timeline || !lsn || !is_printable((*fields)[4]) || !ordinal || !epoch)
    return std::nullopt;
  CoverageNotice notice{
      std::to_string(*system), *timeline, *lsn, std::string((*fields)[4]), *ordinal, {}, *epoch};
  if (*ordinal > 0) {
    const auto position = Position::parse((*fields)[6]);
    if (!position) return std::nullopt;
    notice.position = *position;
  }
  // One text for one meaning: no leading zeros, no lower-case digits, "-" where it belongs.
  if (notice.to_string() != text) return std::nullopt;
  return notice;
}

std::string coverage_subject(std::string_view source) {
  return "POSTRIDER.covered." + std::string(source);
}

}  // namespace postrider
