#include "relay/route/encoder.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "relay/route/cloud_events.h"
#include "relay/route/parts.h"
#include "relay/route/subject.h"

namespace postrider {
namespace {

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
  });
}

tl::unexpected<Error> malformed(const AssembledEvent& event, const std::string& what) {
  return fail(ErrorKind::kMalformedEvent,
              "event " + (has_control(event.event->id) ? "" : event.event->id + " ") + "at " +
                  event.position.to_string() + ": " + what,
              "outbox.emit refuses this: find who writes otherwise, or into a table of [[outbox]] "
              "(docs/operating.md, \"malformed event\")");
}

constexpr std::string_view kTokenSymbols = "!#$%&'*+-.^_`|~";  // RFC 7230, section 3.2.6

bool is_token(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           kTokenSymbols.find(c) != std::string_view::npos;
  });
}

bool is_reserved(std::string_view name) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower.starts_with("nats-") || lower.starts_with("postrider-") ||
         lower.starts_with("ce-") || lower == "content-type";
}

// Hands out header slots, reusing the strings of the message before.
class HeaderWriter {
 public:
  explicit HeaderWriter(Message& message) : headers_(message.headers) {}
  ~HeaderWriter() { headers_.resize(used_); }
  HeaderWriter(const HeaderWriter&) = delete;
  HeaderWriter& operator=(const HeaderWriter&) = delete;

  std::string& value_of(std::string_view name) {
    if (used_ == headers_.size()) headers_.emplace_back();
    auto& [slot_name, slot_value] = headers_[used_++];
    slot_name.assign(name);
    slot_value.clear();
    return slot_value;
  }

 private:
  std::vector<std::pair<std::string, std::string>>& headers_;
  std::size_t used_ = 0;
};

Result<void> write_user_headers(const AssembledEvent& event, HeaderWriter& writer) {
  if (!event.event->headers) return {};
  const auto json =
      nlohmann::json::parse(*event.event->headers, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return malformed(event, "headers are not a JSON object");
  for (const auto& [name, value] : json.items()) {
    if (!is_token(name) || is_reserved(name))
      return malformed(event, "header name \"" + name + "\" is reserved or not a token");
    if (value.is_object() || value.is_array() || value.is_null())
      return malformed(event, "header \"" + name + "\" is not a string, number or boolean");
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (has_control(text))
      return malformed(event, "header \"" + name + "\" holds a control character");
    writer.value_of(name) = text;
  }
  return {};
}

Result<void> write_text(const AssembledEvent& event, HeaderWriter& writer, std::string_view name,
                        const std::optional<std::string>& value) {
  if (!value) return {};
  if (has_control(*value))
    return malformed(event, std::string(name) + " holds a control character");
  writer.value_of(name).assign(*value);
  return {};
}

// One that comes from names and values, nobody can be asked to shorten.
std::size_t longest_subject(const OutboxEvent& event) {
  return event.from_template ? kMaxRowSubjectSize : kMaxSubjectSize;
}

// Row changes have a format of their own.
EventFormat format_of(const AssembledEvent& event) {
  return event.event->id.empty() ? EventFormat::kPlain : event.epoch->settings.format;
}

Result<void> write_headers(const AssembledEvent& event, std::uint64_t ordinal, Message& message) {
  const OutboxEvent& outbox = *event.event;
  HeaderWriter writer(message);
  const PositionHeader header{ordinal, event.position, event.fingerprint, event.epoch->number,
                              event.last};
  header.append_to(writer.value_of(kPositionHeader));
  if (event.epoch->hole && event.epoch->hole->last + 1 == ordinal)
    writer.value_of(kHoleHeader) = event.epoch->hole->to_string();
  if (event.epoch->settings.message_id) writer.value_of("Nats-Msg-Id") = event.position.to_string();
  if (event.position.part && !event.tombstone) {
    const auto count = part_count(event);
    if (!count) return tl::unexpected(count.error());
    writer.value_of(kPartsHeader) = std::to_string(*count);
  }
  if (has_control(outbox.id)) return malformed(event, "its id holds a control character");
  if (!outbox.id.empty()) writer.value_of("Postrider-Id").assign(outbox.id);
  if (auto written = write_text(event, writer, "Postrider-Key", outbox.key); !written)
    return written;
  if (event.tombstone) {
    writer.value_of("Postrider-Type").assign("tombstone");
    return {};
  }
  if (auto written = write_text(event, writer, "Postrider-Type", outbox.type); !written)
    return written;
  if (format_of(event) == EventFormat::kCloudEventsStructured) {
    if (outbox.content_type && has_control(*outbox.content_type))
      return malformed(event, "Content-Type holds a control character");
    writer.value_of("Content-Type").assign(kCloudEventsJson);
  } else if (auto written = write_text(event, writer, "Content-Type", outbox.content_type);
             !written) {
    return written;
  }
  return write_user_headers(event, writer);
}

}  // namespace

std::size_t Message::size() const {
  std::size_t bytes = subject.size() + payload.size();
  for (const auto& [name, value] : headers) bytes += name.size() + value.size() + 4;
  return bytes;
}

Result<void> encode(const AssembledEvent& event, std::uint64_t ordinal, Message& message) {
  const OutboxEvent& outbox = *event.event;
  const EpochSettings& settings = event.epoch->settings;
  if (!is_valid_event_subject(outbox.subject, longest_subject(outbox)))
    return malformed(event, "its subject is not one that NATS can carry");
  message.subject.assign(settings.source).append(1, '.').append(outbox.subject);
  message.payload = event.tombstone       ? std::string_view()
                    : event.position.part ? payload_of(event)
                                          : std::string_view(outbox.payload);

  if (auto written = write_headers(event, ordinal, message); !written) return written;
  switch (format_of(event)) {
    case EventFormat::kPlain:
      break;
    case EventFormat::kCloudEventsStructured:
      write_structured(event, message.headers, message.body);
      message.payload = message.body;
      break;
    case EventFormat::kCloudEventsBinary:
      append_binary(event, message.headers);
      break;
  }
  return {};
}

}  // namespace postrider
