#include "relay/wire/pub_ack.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

namespace postrider::wire {
namespace {

// ,"batch":"B","count":C}
bool ends_batch(std::string_view json) {
  constexpr std::string_view kBatch = ",\"batch\":\"";
  constexpr std::string_view kCount = "\",\"count\":";
  if (!json.starts_with(kBatch)) return false;
  json.remove_prefix(kBatch.size());
  json.remove_prefix(std::min(json.find_first_of("\"\\"), json.size()));
  if (!json.starts_with(kCount) || !json.ends_with('}')) return false;
  json.remove_prefix(kCount.size());
  json.remove_suffix(1);
  return !json.empty() && json.find_first_not_of("0123456789") == std::string_view::npos;
}

// The form that the server sends for nearly every message, without a JSON parser: {"stream":"S",
// "seq":N}, with ,"batch":"B","count":C behind it at a batch's end, and at most one blank between.
// Nothing for any other form.
std::optional<std::uint64_t> parse_plain(std::string_view json) {
  constexpr std::string_view kHead = "{\"stream\":\"";
  if (!json.starts_with(kHead)) return std::nullopt;
  const auto quote = json.find_first_of("\"\\", kHead.size());
  if (quote == std::string_view::npos || json[quote] != '"') return std::nullopt;
  json.remove_prefix(quote + 1);
  if (!json.starts_with(',')) return std::nullopt;
  json.remove_prefix(1);
  if (json.starts_with(' ')) json.remove_prefix(1);
  constexpr std::string_view kSeq = "\"seq\":";
  if (!json.starts_with(kSeq)) return std::nullopt;
  json.remove_prefix(kSeq.size());
  std::uint64_t seq = 0;
  const auto [end, error] = std::from_chars(json.data(), json.data() + json.size(), seq);
  if (error != std::errc{}) return std::nullopt;
  json.remove_prefix(static_cast<std::size_t>(end - json.data()));
  if (json == "}" || ends_batch(json)) return seq;
  return std::nullopt;
}

template <class T>
T number_or_zero(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<T>() : T{};
}

PubAck parse_error(const nlohmann::json& error) {
  PubAck ack;
  ack.code = number_or_zero<int>(error, "code");
  ack.err_code = number_or_zero<int>(error, "err_code");
  if (const auto text = error.find("description"); text != error.end() && text->is_string())
    ack.description = text->get<std::string>();
  ack.outcome = ack.err_code == kErrWrongLastSequence ? PubAck::Outcome::kWrongSequence
                                                      : PubAck::Outcome::kRefused;
  return ack;
}

}  // namespace

PubAck parse_pub_ack(std::string_view json) {
  PubAck ack;
  if (const auto seq = parse_plain(json)) {
    ack.seq = *seq;
  } else {
    const auto parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_object()) return ack;
    if (const auto error = parsed.find("error"); error != parsed.end() && error->is_object())
      return parse_error(*error);
    if (const auto found = parsed.find("seq"); found != parsed.end() && found->is_number_unsigned())
      ack.seq = found->get<std::uint64_t>();
    const auto duplicate = parsed.find("duplicate");
    if (duplicate != parsed.end() && *duplicate != false) ack.outcome = PubAck::Outcome::kDuplicate;
  }
  if (ack.seq != 0 && ack.outcome == PubAck::Outcome::kUnreadable)
    ack.outcome = PubAck::Outcome::kStored;
  return ack;
}

}  // namespace postrider::wire
