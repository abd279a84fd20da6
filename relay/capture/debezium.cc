#include "relay/capture/debezium.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "relay/capture/captured_table.h"
#include "relay/capture/json_text.h"
#include "relay/capture/row_value.h"

namespace postrider {
namespace {

using wire::Value;

constexpr std::int64_t kMicroseconds = 1'000'000;
constexpr std::int64_t kDay = 86'400;
// What Debezium sends for timestamps and dates without end.
constexpr std::int64_t kPositiveInfinityUs = 9'223'371'331'200'000'000;
constexpr std::int64_t kNegativeInfinityUs = -9'223'372'036'832'400'000;
constexpr std::int64_t kPositiveInfinityDays = 2'147'483'647;
constexpr std::int64_t kNegativeInfinityDays = -2'147'483'648;
constexpr std::string_view kUnavailable = "__debezium_unavailable_value";

// Days since 1970-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC.
constexpr std::int64_t days_from_civil(std::int64_t year, std::int64_t month, std::int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

// At most what a date's year can be, 5874897: what is made of larger ones could overflow.
bool take_number(std::string_view& text, std::int64_t& value) {
  constexpr std::int64_t kMost = 10'000'000;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0 || value > kMost) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

bool take_era(std::string_view& text) {
  constexpr std::string_view kBc = " BC";
  if (!text.ends_with(kBc)) return false;
  text.remove_suffix(kBc.size());
  return true;
}

std::optional<std::int64_t> take_date(std::string_view& text, bool before_christ) {
  std::int64_t year = 0;
  std::int64_t month = 0;
  std::int64_t day = 0;
  if (!take_number(text, year) || !take(text, '-') || !take_number(text, month) ||
      !take(text, '-') || !take_number(text, day))
    return std::nullopt;
  return days_from_civil(before_christ ? 1 - year : year, month, day);
}

// hh:mm:ss[.ffffff], in microseconds.
std::optional<std::int64_t> take_time(std::string_view& text) {
  std::int64_t hours = 0;
  std::int64_t minutes = 0;
  std::int64_t seconds = 0;
  if (!take_number(text, hours) || !take(text, ':') || !take_number(text, minutes) ||
      !take(text, ':') || !take_number(text, seconds))
    return std::nullopt;
  std::int64_t fraction = 0;
  if (take(text, '.')) {
    std::int64_t unit = kMicroseconds / 10;
    for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; unit /= 10) {
      fraction += (text.front() - '0') * unit;
      text.remove_prefix(1);
    }
  }
  return ((hours * 60 + minutes) * 60 + seconds) * kMicroseconds + fraction;
}

std::optional<std::int64_t> date_days(std::string_view text) {
  if (text == "infinity") return kPositiveInfinityDays;
  if (text == "-infinity") return kNegativeInfinityDays;
  const bool before_christ = take_era(text);
  const auto days = take_date(text, before_christ);
  return text.empty() ? days : std::nullopt;
}

std::optional<std::int64_t> time_us(std::string_view text) {
  const auto us = take_time(text);
  return text.empty() ? us : std::nullopt;
}

// "2026-01-31 09:10:11.5+00" as "2026-01-31T09:10:11.5Z". The connection's time zone is UTC.
void append_zoned(std::string& out, std::string_view text) {
  constexpr std::string_view kUtc = "+00";
  const auto blank = text.find(' ');
  const auto moment = text.substr(0, text.size() - std::min(text.size(), kUtc.size()));
  if (blank == std::string_view::npos || !text.ends_with(kUtc) ||
      moment.find_first_not_of("0123456789-:. ") != std::string_view::npos) {  // infinity, BC
    append_json_string(out, text);
    return;
  }
  out += '"';
  out.append(moment.substr(0, blank)).append(1, 'T').append(moment.substr(blank + 1)).append("Z\"");
}

int hex_digit(char c) {
  return c >= 'a' ? c - 'a' + 10 : c - '0';
}

// bytea in hex format, which the connection pins.
void append_base64(std::string& out, std::string_view hex) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  hex.remove_prefix(2);
  out += '"';
  for (std::size_t i = 0; i + 1 < hex.size(); i += 6) {
    std::uint32_t bits = 0;
    std::size_t bytes = 0;
    for (std::size_t at = i; at < i + 6; at += 2) {
      bits <<= 8U;
      if (at + 1 >= hex.size()) continue;
      bits |= static_cast<std::uint32_t>(hex_digit(hex[at]) * 16 + hex_digit(hex[at + 1]));
      ++bytes;
    }
    for (std::size_t digit = 0; digit < 4; ++digit)
      out += digit <= bytes ? kAlphabet[(bits >> (18 - 6 * digit)) & 0x3FU] : '=';
  }
  out += '"';
}

bool append_number(std::string& out, std::optional<std::int64_t> number) {
  if (!number) return false;
  out += std::to_string(*number);
  return true;
}

void append_field(std::string& out, const CapturedColumn& column, const Value& value) {
  if (out.back() != '{') out += ',';
  append_json_string(out, column.name);
  out += ':';
  if (value.kind == Value::Kind::kNull)
    out += "null";
  else if (value.kind == Value::Kind::kUnchangedToast)
    append_json_string(out, kUnavailable);
  else if (column.replaced())
    append_json_string(out, value.data);
  else
    append_debezium_value(out, column.type, value.data);
}

// The old row; of columns that are not part of the key nothing is known, which Debezium says by
// null.
void append_before(std::string& out, const CapturedTable& table, const RowChange& change) {
  if (change.old == nullptr) {
    out += "null";
    return;
  }
  out += '{';
  for (const auto& column : table.columns())
    append_field(
        out, column,
        CapturedTable::has_old(change, column) ? table.old_value_of(change, column) : Value{});
  out += '}';
}

void append_after(std::string& out, const CapturedTable& table, const RowChange& change) {
  if (change.row == nullptr) {
    out += "null";
    return;
  }
  out += '{';
  for (const auto& column : table.columns())
    append_field(out, column, table.value_of(change, column));
  out += '}';
}

char op_of(RowOp op) {
  switch (op) {
    case RowOp::kInsert:
      return 'c';
    case RowOp::kUpdate:
      return 'u';
    case RowOp::kDelete:
      return 'd';
    case RowOp::kTruncate:
      return 't';
    case RowOp::kRead:
      return 'r';
  }
  return '?';
}

}  // namespace

std::optional<std::int64_t> timestamp_us(std::string_view text) {
  if (text == "infinity") return kPositiveInfinityUs;
  if (text == "-infinity") return kNegativeInfinityUs;
  const bool before_christ = take_era(text);
  const auto days = take_date(text, before_christ);
  if (!days || !take(text, ' ')) return std::nullopt;
  const auto us = take_time(text);
  std::int64_t midnight = 0;
  std::int64_t moment = 0;
  if (!us || !text.empty() || __builtin_mul_overflow(*days, kDay * kMicroseconds, &midnight) ||
      __builtin_add_overflow(midnight, *us, &moment))
    return std::nullopt;
  return moment;
}

void append_debezium_value(std::string& out, std::uint32_t type, std::string_view text) {
  switch (type) {
    case pg_type::kDate:
      if (append_number(out, date_days(text))) return;
      break;
    case pg_type::kTime:
      if (append_number(out, time_us(text))) return;
      break;
    case pg_type::kTimestamp:
      if (append_number(out, timestamp_us(text))) return;
      break;
    case pg_type::kTimestamptz:
      return append_zoned(out, text);
    case pg_type::kBytea:
      if (text.starts_with("\\x")) return append_base64(out, text);
      break;
    case pg_type::kJson:
    case pg_type::kJsonb:
      break;  // a string that holds JSON
    default:
      return append_value(out, type, text);
  }
  append_json_string(out, text);
}

void write_debezium(const CapturedTable& table, const RowChange& change, std::string& out) {
  const std::string ms = std::to_string(change.fingerprint.commit_time_us / 1000);
  out += "{\"before\":";
  append_before(out, table, change);
  out += ",\"after\":";
  append_after(out, table, change);
  out.append(R"(,"source":{"version":"postrider","connector":"postgresql","name":)");
  append_json_string(out, change.source);
  out.append(",\"ts_ms\":").append(ms).append(",\"snapshot\":\"");
  out.append(change.op == RowOp::kRead ? "incremental" : "false").append("\",\"db\":");
  append_json_string(out, change.source);
  out += ",\"schema\":";
  append_json_string(out, table.schema());
  out += ",\"table\":";
  append_json_string(out, table.name());
  out.append(",\"txId\":").append(std::to_string(change.fingerprint.xid));
  out.append(",\"lsn\":").append(std::to_string(change.commit_lsn.value));
  out.append(R"(,"xmin":null},"op":")").append(1, op_of(change.op));
  out.append("\",\"ts_ms\":").append(ms).append(",\"transaction\":null}");
}

}  // namespace postrider
