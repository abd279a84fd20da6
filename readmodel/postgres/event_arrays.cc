#include "readmodel/postgres/event_arrays.h"

#include <cstddef>
#include <map>

#include "outbox/src/statement.h"

namespace postrider {
namespace {

// jsonb where the content says it is JSON, bytes otherwise.
bool is_json(std::string_view content_type) {
  return content_type == "application/json" || content_type.starts_with("application/json;") ||
         content_type.ends_with("+json");
}

// What PostgreSQL takes as text: UTF-8 without NUL, shortest forms, no surrogates.
bool is_text(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const std::size_t more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (lead == 0 || (lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || i + more >= bytes.size())
      return false;
    for (std::size_t k = 1; k <= more; ++k)
      if ((static_cast<unsigned char>(bytes[i + k]) & 0xC0U) != 0x80U) return false;
    const auto second = more > 0 ? static_cast<unsigned char>(bytes[i + 1]) : 0U;
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F))
      return false;
    i += more + 1;
  }
  return true;
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 0xFU];
  }
  return text;
}

}  // namespace

const char* const kToEvents =
    "postrider.to_events($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], "
    "$7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::boolean[])";

struct EventArrays::Columns {
  TextArray ordinals, positions, subjects, keys, types, ids, content_types, headers, payloads,
      payload_bytes, commit_times, lasts;
};

EventArrays::EventArrays() : columns_(std::make_unique<Columns>()) {}
EventArrays::~EventArrays() = default;

void EventArrays::add(const ReceivedEvent& event) {
  const auto optional = [](const std::optional<std::string>& text) {
    return text ? std::optional<std::string_view>(*text) : std::nullopt;
  };
  Columns& c = *columns_;
  c.ordinals.add(std::to_string(event.place.ordinal));
  c.positions.add(event.place.position.to_string());
  c.subjects.add(event.subject);
  c.keys.add(optional(event.key));
  c.types.add(optional(event.type));
  c.ids.add(event.id.empty() ? std::nullopt : std::optional<std::string_view>(event.id));
  c.content_types.add(event.content_type.empty()
                          ? std::nullopt
                          : std::optional<std::string_view>(event.content_type));
  if (event.headers.empty()) {
    c.headers.add("{}");
  } else {
    c.headers.add(json_object(
        std::map<std::string, std::string>(event.headers.begin(), event.headers.end())));
  }
  if (is_json(event.content_type) && is_text(event.payload)) {
    c.payloads.add(event.payload);
    c.payload_bytes.add(std::nullopt);
  } else {
    c.payloads.add(std::nullopt);
    c.payload_bytes.add(hex(event.payload));
  }
  c.commit_times.add(std::to_string(event.place.fingerprint.commit_time_us));
  c.lasts.add(event.place.last ? "t" : "f");
  ++count_;
}

std::array<std::string, kEventColumns> EventArrays::take() {
  Columns& c = *columns_;
  count_ = 0;
  return {c.ordinals.take(), c.positions.take(),     c.subjects.take(),      c.keys.take(),
          c.types.take(),    c.ids.take(),           c.content_types.take(), c.headers.take(),
          c.payloads.take(), c.payload_bytes.take(), c.commit_times.take(),  c.lasts.take()};
}

}  // namespace postrider
