#include "relay/route/cloud_events.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace postrider {
namespace {

constexpr std::int64_t kDayUs = 86'400'000'000;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

// Calls `add(name, value)` for every attribute but datacontenttype, in a fixed order. Values that
// are set must not be empty, so an empty one counts as not set.
template <typename Add>
void for_each_attribute(const AssembledEvent& event, const Headers& headers, Add add) {
  const OutboxEvent& outbox = *event.event;
  add("specversion", "1.0");
  add("id", outbox.id.empty() ? event.position.to_string() : outbox.id);
  add("source", "/postrider/" + event.epoch->settings.source);
  add("type", outbox.type && !outbox.type->empty() ? *outbox.type : outbox.subject);
  if (outbox.key && !outbox.key->empty()) {
    add("subject", *outbox.key);
    add("partitionkey", *outbox.key);
  }
  if (const auto time = rfc3339(event.fingerprint.commit_time_us)) add("time", *time);
  for (const char* trace : {"traceparent", "tracestate"}) {
    const auto found = std::ranges::find_if(
        headers, [&](const auto& header) { return lower_case(header.first) == trace; });
    if (found != headers.end() && !found->second.empty()) add(trace, std::string(found->second));
  }
}

// The media type is */json or */*+json, or nothing is said, which means application/json.
bool claims_json(const std::optional<std::string>& content_type) {
  if (!content_type || content_type->empty()) return true;
  std::string type = lower_case(content_type->substr(0, content_type->find(';')));
  type.erase(type.find_last_not_of(' ') + 1);
  return type.ends_with("/json") || type.ends_with("+json");
}

// Stricter than the parser, which skips a byte order mark and takes NUL for the end.
bool is_json(std::string_view text) {
  return !text.starts_with("\xEF\xBB\xBF") && text.find('\0') == std::string_view::npos &&
         nlohmann::json::accept(text);
}

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void append_base64(std::string_view bytes, std::string& out) {
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4 + 2);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8U | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out += j <= count ? kBase64[group >> (18 - 6 * j) & 0x3FU] : '=';
  }
}

// Nothing where it is no base64 of append_base64's.
std::optional<std::string> from_base64(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  if (text.size() % 4 != 0) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::uint32_t group = 0;
    std::size_t padding = 0;
    for (const char c : text.substr(i, 4)) {
      if (c == '=') {
        group <<= 6U;
        ++padding;
        continue;
      }
      const auto digit = kBase64.find(c);
      if (digit == std::string_view::npos || padding > 0) return std::nullopt;
      group = group << 6U | static_cast<std::uint32_t>(digit);
    }
    if (padding > 2 || (padding > 0 && i + 4 != text.size())) return std::nullopt;
    for (std::size_t j = 0; j < 3 - padding; ++j)
      bytes += static_cast<char>(group >> (16 - 8 * j) & 0xFFU);
  }
  return bytes;
}

void append_member(std::string_view name, std::string_view value, std::string& body) {
  body += body.empty() ? "{\"" : ",\"";
  body.append(name).append("\":");
  body += nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::optional<std::string> rfc3339(std::int64_t unix_us) {
  std::int64_t days = unix_us / kDayUs;
  std::int64_t us = unix_us % kDayUs;
  if (us < 0) {
    us += kDayUs;
    --days;
  }
  // Days since 0000-03-01, in eras of 400 years: the leap day is the last of its year.
  days += 719'468;
  const std::int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const std::int64_t day_of_era = days - era * 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted = (5 * day_of_year + 2) / 153;
  const std::int64_t day = day_of_year - (153 * shifted + 2) / 5 + 1;
  const std::int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
  const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  if (year < 0 || year > 9999) return std::nullopt;
  const std::int64_t seconds = us / 1'000'000;
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
                static_cast<int>(year), static_cast<int>(month), static_cast<int>(day),
                static_cast<int>(seconds / 3600), static_cast<int>(seconds / 60 % 60),
                static_cast<int>(seconds % 60), static_cast<int>(us % 1'000'000));
  return text.data();
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7F && c != '"' && c != '%')
      out += c;
    else
      out.append(1, '%').append(1, kHex[byte >> 4U]).append(1, kHex[byte & 0xFU]);
  }
  return out;
}

void write_structured(const AssembledEvent& event, const Headers& headers, std::string& body) {
  const OutboxEvent& outbox = *event.event;
  body.clear();
  for_each_attribute(event, headers, [&](std::string_view name, std::string_view value) {
    append_member(name, value, body);
  });
  if (outbox.content_type && !outbox.content_type->empty())
    append_member("datacontenttype", *outbox.content_type, body);
  // Byte for byte, so that numbers keep their text.
  if (claims_json(outbox.content_type) && is_json(outbox.payload)) {
    body.append(",\"data\":").append(outbox.payload).append("}");
    return;
  }
  body += ",\"data_base64\":\"";
  append_base64(outbox.payload, body);
  body += "\"}";
}

std::optional<std::string> structured_payload(std::string_view body, std::string_view id,
                                              std::string_view source) {
  constexpr std::string_view kData = ",\"data\":";
  constexpr std::string_view kBytes = ",\"data_base64\":\"";
  std::string begin;
  append_member("specversion", "1.0", begin);
  append_member("id", id, begin);
  begin.append(",\"source\":\"/postrider/").append(source).append("\",");
  if (!body.starts_with(begin) || !body.ends_with('}')) return std::nullopt;
  // Before it stand texts in JSON, whose quotes are escaped: the first place is the true one.
  const auto data = body.find(kData);
  const auto bytes = body.find(kBytes);
  if (data < bytes) {
    const auto from = data + kData.size();
    return std::string(body.substr(from, body.size() - from - 1));
  }
  if (bytes == std::string_view::npos || !body.ends_with("\"}")) return std::nullopt;
  const auto from = bytes + kBytes.size();
  if (from + 2 > body.size()) return std::nullopt;
  return from_base64(body.substr(from, body.size() - from - 2));
}

void append_binary(const AssembledEvent& event, Headers& headers) {
  Headers attributes;
  for_each_attribute(event, headers, [&](std::string_view name, std::string_view value) {
    attributes.emplace_back("ce-" + std::string(name), percent_encode(value));
  });
  std::ranges::move(attributes, std::back_inserter(headers));
}

}  // namespace postrider
