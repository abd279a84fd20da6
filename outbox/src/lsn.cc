#include "postrider/lsn.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace postrider {

std::string Lsn::to_string() const {
  std::array<char, 24> text{};
  const int n =
      std::snprintf(text.data(), text.size(), "%X/%X", static_cast<unsigned>(value >> 32U),
                    static_cast<unsigned>(value & 0xFFFFFFFFU));
  return {text.data(), static_cast<std::size_t>(n)};
}

namespace {

std::optional<std::uint64_t> parse_half(std::string_view text) {
  if (text.empty() || text.size() > 8) return std::nullopt;
  std::uint64_t half = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), half, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return half;
}

}  // namespace

std::optional<Lsn> Lsn::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto high = parse_half(text.substr(0, slash));
  const auto low = parse_half(text.substr(slash + 1));
  if (!high || !low) return std::nullopt;
  return Lsn{(*high << 32U) | *low};
}

}  // namespace postrider
