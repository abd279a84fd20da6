#include "base/jetstream/stream_info.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/json_integer.h"
#include "base/nats/headers.h"

namespace postrider::wire {
namespace {

using Json = nlohmann::json;

template <class T>
T get_or(const Json& object, const char* name, T fallback) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return fallback;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
    return json_integer<T>(*found);
  else
    return found->get<T>();
}

void read_config(const Json& config, StreamInfo& info) {
  info.name = config.at("name").get<std::string>();
  info.subjects = get_or(config, "subjects", std::vector<std::string>{});
  info.storage = config.at("storage").get<std::string>();
  info.retention = config.at("retention").get<std::string>();
  info.discard = get_or<std::string>(config, "discard", "old");
  info.deny_delete = get_or(config, "deny_delete", false);
  info.deny_purge = get_or(config, "deny_purge", false);
  info.allow_rollup = get_or(config, "allow_rollup_hdrs", false);
  info.no_ack = get_or(config, "no_ack", false);
  info.sealed = get_or(config, "sealed", false);
  info.has_mirror_or_sources = config.contains("mirror") || config.contains("sources");
  const auto transform = config.find("subject_transform");
  info.has_subject_transform = transform != config.end() && !transform->is_null();
  info.marks_deletions = get_or<std::int64_t>(config, "subject_delete_marker_ttl", 0) > 0;
  info.begins_at = get_or<std::uint64_t>(config, "first_seq", 0);
  info.persist_async = get_or<std::string>(config, "persist_mode", "") == "async";
  info.fast_ingest = get_or(config, "allow_batched", false);
  info.max_msgs = get_or<std::int64_t>(config, "max_msgs", -1);
  info.max_msgs_per_subject = get_or<std::int64_t>(config, "max_msgs_per_subject", -1);
  info.max_bytes = get_or<std::int64_t>(config, "max_bytes", -1);
  info.max_msg_size = get_or<std::int64_t>(config, "max_msg_size", -1);
  info.max_age = std::chrono::nanoseconds(get_or<std::int64_t>(config, "max_age", 0));
  info.duplicate_window =
      std::chrono::nanoseconds(get_or<std::int64_t>(config, "duplicate_window", 0));
  info.replicas = get_or(config, "num_replicas", 1);
}

void read_state(const Json& state, StreamInfo& info) {
  info.first_seq = json_integer<std::uint64_t>(state.at("first_seq"));
  info.last_seq = json_integer<std::uint64_t>(state.at("last_seq"));
  info.messages = json_integer<std::uint64_t>(state.at("messages"));
  info.bytes = get_or<std::uint64_t>(state, "bytes", 0);
  const auto lost = state.find("lost");
  if (lost == state.end() || !lost->is_object()) return;
  const auto messages = lost->find("msgs");
  info.lost = messages != lost->end() && messages->is_array() ? messages->size() : 1;
}

tl::unexpected<Error> unreadable(const std::string& what) {
  return fail(ErrorKind::kBrokerUnavailable, "an unreadable JetStream answer: " + what);
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

bool decode_base64(std::string_view text, std::string& out) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return false;
    bits = (bits << 6U) | static_cast<unsigned>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>((bits >> static_cast<unsigned>(count)) & 0xFFU);
  }
  return true;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

std::optional<ApiError> find_api_error(std::string_view text) {
  const auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return ApiError{0, 0, "an answer that is no JSON object"};
  const auto error = json.find("error");
  if (error == json.end() || !error->is_object()) return std::nullopt;
  try {
    return ApiError{get_or(*error, "code", 0), get_or(*error, "err_code", 0),
                    get_or<std::string>(*error, "description", "")};
  } catch (const Json::exception&) {
    return ApiError{0, 0, "an error that is not one"};
  }
}

Result<StreamInfo> parse_stream_info(std::string_view text) {
  const auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return unreadable("not an object");
  try {
    StreamInfo info;
    info.created = json.at("created").get<std::string>();
    read_config(json.at("config"), info);
    read_state(json.at("state"), info);
    return info;
  } catch (const Json::exception& e) {
    return unreadable(e.what());
  }
}

Result<std::uint64_t> parse_newest_missing(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    std::uint64_t newest = 0;
    for (const auto& seq : get_or(json.at("state"), "deleted", Json::array()))
      newest = std::max(newest, json_integer<std::uint64_t>(seq));
    return newest;
  } catch (const Json::exception& error) {
    return unreadable(error.what());
  }
}

Result<StoredMessage> parse_stored_message(std::string_view text) {
  const auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return unreadable("not an object");
  try {
    const Json& message = json.at("message");
    StoredMessage stored;
    stored.seq = json_integer<std::uint64_t>(message.at("seq"));
    stored.subject = message.at("subject").get<std::string>();
    if (!decode_base64(get_or<std::string>(message, "hdrs", ""), stored.headers))
      return unreadable("headers that are not base64");
    if (!decode_base64(get_or<std::string>(message, "data", ""), stored.data))
      return unreadable("a payload that is not base64");
    return stored;
  } catch (const Json::exception& e) {
    return unreadable(e.what());
  }
}

std::optional<std::string_view> find_header(std::string_view headers, std::string_view name) {
  std::optional<std::string_view> found;
  nats::for_each_header(headers, [&](std::string_view other, std::string_view value) {
    if (!found && equal_ignoring_case(other, name)) found = nats::trimmed(value);
  });
  return found;
}

std::vector<SettingProblem> review_settings(const StreamInfo& stream, std::string_view subjects) {
  std::vector<SettingProblem> problems;
  const auto fatal = [&](bool broken, const char* setting, std::string what, std::string remedy) {
    if (broken) problems.push_back({true, setting, std::move(what), std::move(remedy)});
  };
  const auto warn = [&](bool odd, const char* setting, std::string what, std::string remedy) {
    if (odd) problems.push_back({false, setting, std::move(what), std::move(remedy)});
  };
  const std::string recreate = "it cannot be changed: use another stream";
  fatal(stream.storage != "file", "storage",
        "is " + stream.storage + ": a restart loses every event", recreate);
  fatal(stream.retention != "limits", "retention",
        "is " + stream.retention + ": events vanish as soon as somebody has read them", recreate);
  fatal(stream.discard != "new", "discard",
        "is " + stream.discard + ": a full stream would drop its oldest events silently",
        "nats stream edit --discard=new");
  fatal(stream.no_ack, "no_ack", "is on: publishes are not acknowledged", "switch it off");
  fatal(stream.sealed, "sealed", "is on: nothing can be published", recreate);
  fatal(stream.has_mirror_or_sources, "mirror/sources",
        "the stream takes messages from other streams; only the relay may write it", recreate);
  fatal(stream.has_subject_transform, "subject_transform",
        "is set: events would be stored under other subjects than they were published on",
        "remove it from the stream's configuration");
  fatal(stream.persist_async, "persist_mode", "is async: acknowledged before it is written",
        recreate);
  fatal(stream.marks_deletions, "subject_delete_marker_ttl",
        "is set: the server would put messages of its own between the events",
        "remove it from the stream's configuration");
  fatal(stream.begins_at > 1, "first_seq",
        "is " + std::to_string(stream.begins_at) +
            ": nats-server 2.10 loses every message of such a stream when it is killed",
        recreate);
  fatal(stream.max_msgs_per_subject > 0, "max_msgs_per_subject",
        "is " + std::to_string(stream.max_msgs_per_subject) +
            ": older events of a subject would vanish",
        "set it to -1");
  fatal(stream.allow_rollup, "allow_rollup_hdrs", "is on: one message could purge the stream",
        "switch it off");
  fatal(stream.subjects.size() != 1 || stream.subjects[0] != subjects, "subjects",
        "must be exactly " + std::string(subjects) + ": only this source's events belong there",
        "edit the stream's subjects");
  warn(!stream.deny_purge, "deny_purge", "is off: all events can be removed by one request",
       "it can be set when the stream is created (stream.create = true does)");
  warn(stream.deny_delete, "deny_delete",
       "is on: a repair cannot take back what a failover has made void",
       "let NATS permissions keep others from deleting; it cannot be switched off again");
  warn(stream.max_age.count() > 0 && stream.max_age < std::chrono::hours(1), "max_age",
       "is under an hour: consumers that are away longer miss events", "raise it");
  warn(stream.duplicate_window > std::chrono::minutes(1), "duplicate_window",
       "is over a minute: the server keeps that many message ids in memory", "5s is enough");
  return problems;
}

std::optional<PositionHeader> position_header(const StoredMessage& message) {
  return PositionHeader::parse(find_header(message.headers, kPositionHeader).value_or(""));
}

std::optional<OrdinalRange> hole_header(const StoredMessage& message) {
  return OrdinalRange::parse(find_header(message.headers, kHoleHeader).value_or(""));
}

}  // namespace postrider::wire
