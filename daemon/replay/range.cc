#include "daemon/replay/range.h"

#include <charconv>
#include <chrono>
#include <tuple>

#include "readmodel/subject_pattern.h"

namespace postrider {
namespace {

template <class T>
std::optional<T> decimal(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

// YYYY-MM-DDTHH:MM:SS[.ffffff]Z
std::optional<std::int64_t> parse_time_us(std::string_view text) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  constexpr std::size_t kMostDigits = 6;
  if (text.size() <= kShape.size() || !text.ends_with('Z')) return {};
  for (std::size_t i = 0; i < kShape.size(); ++i)
    if (kShape[i] != '0' && text[i] != kShape[i]) return {};
  const auto field = [&](std::size_t at, std::size_t size) {
    return decimal<unsigned>(text.substr(at, size));
  };
  const auto year = field(0, 4);
  const auto month = field(5, 2);
  const auto day = field(8, 2);
  const auto hour = field(11, 2);
  const auto minute = field(14, 2);
  const auto second = field(17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return {};
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(static_cast<int>(*year)), std::chrono::month(*month),
                            std::chrono::day(*day)};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 59) return {};
  std::int64_t fraction = 0;
  auto rest = text.substr(kShape.size(), text.size() - kShape.size() - 1);
  if (!rest.empty()) {
    if (rest.front() != '.' || rest.size() > kMostDigits + 1) return {};
    std::string digits(rest.substr(1));
    if (digits.empty()) return {};
    digits.resize(kMostDigits, '0');
    const auto value = decimal<std::uint32_t>(digits);
    if (!value) return {};
    fraction = *value;
  }
  const auto whole =
      sys_days(date).time_since_epoch() + hours(*hour) + minutes(*minute) + seconds(*second);
  return duration_cast<microseconds>(whole).count() + fraction;
}

// Where the message stands against `place`: negative before it, positive behind it.
int compare(const PositionHeader& header, std::uint64_t seq, const ReplayPlace& place) {
  const auto order = [](auto left, auto right) { return left < right ? -1 : left > right ? 1 : 0; };
  if (const auto* ordinal = std::get_if<ReplayOrdinal>(&place))
    return order(header.ordinal, ordinal->ordinal);
  if (const auto* number = std::get_if<ReplaySeq>(&place)) return order(seq, number->seq);
  if (const auto* time = std::get_if<ReplayTime>(&place))
    return order(header.fingerprint.commit_time_us, time->us);
  const auto& wanted = std::get<Position>(place);
  Position position = header.position;
  if (!wanted.part) position.part.reset();
  return order(position, wanted);
}

bool is_open(const ReplayPlace& place) {
  return std::holds_alternative<std::monostate>(place);
}

}  // namespace

Result<ReplayPlace> parse_replay_place(std::string_view text, std::string_view option) {
  constexpr std::string_view kOrdinal = "ordinal:";
  constexpr std::string_view kSeq = "seq:";
  if (text == (option == "--from" ? "start" : "end")) return ReplayPlace{};
  if (text.starts_with(kOrdinal)) {
    if (const auto n = decimal<std::uint64_t>(text.substr(kOrdinal.size())))
      return ReplayPlace{ReplayOrdinal{*n}};
  } else if (text.starts_with(kSeq)) {
    if (const auto n = decimal<std::uint64_t>(text.substr(kSeq.size())))
      return ReplayPlace{ReplaySeq{*n}};
  } else if (const auto position = Position::parse(text)) {
    return ReplayPlace{*position};
  } else if (const auto us = parse_time_us(text)) {
    return ReplayPlace{ReplayTime{*us}};
  }
  return fail(ErrorKind::kConfiguration,
              std::string(option) + " " + std::string(text) + " is not a place in a stream",
              std::string("give ") + (option == "--from" ? "start" : "end") +
                  ", ordinal:N, seq:N, a position as `postrider status` prints it, or a commit "
                  "time such as 2026-11-25T16:00:00Z");
}

bool ReplayRange::contains(const PositionHeader& header, std::uint64_t seq,
                           std::string_view subject) const {
  return (is_open(from) || compare(header, seq, from) >= 0) &&
         (is_open(until) || compare(header, seq, until) <= 0) &&
         (filter.empty() || matches(filter, subject));
}

bool ReplayRange::is_past_end(const PositionHeader& header, std::uint64_t seq) const {
  if (is_open(until) || std::holds_alternative<ReplayTime>(until)) return false;
  return compare(header, seq, until) > 0;
}

bool ReplayRange::is_before_start(const PositionHeader& header, std::uint64_t seq) const {
  if (is_open(from) || std::holds_alternative<ReplayTime>(from)) return false;
  return compare(header, seq, from) < 0;
}

bool ReplayRange::begins_before(const PositionHeader& header, std::uint64_t seq) const {
  return !is_open(from) && header.ordinal > 1 && compare(header, seq, from) > 0;
}

}  // namespace postrider
