// What JetStream says about a stream, and whether its settings keep the promises. Pure.
// Source: NATS documentation, "JetStream wire API reference", STREAM.INFO and STREAM.MSG.GET.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "postrider/position.h"

namespace postrider::wire {

struct StreamInfo {
  std::string name;
  std::string created;  // RFC 3339, as the server prints it: the incarnation
  std::uint64_t first_seq = 0;
  std::uint64_t last_seq = 0;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t lost = 0;  // messages that the server says it has lost

  std::vector<std::string> subjects;
  std::string storage;    // "file" or "memory"
  std::string retention;  // "limits", "interest" or "workqueue"
  std::string discard;    // "old" or "new"
  bool deny_delete = false;
  bool deny_purge = false;
  bool allow_rollup = false;
  bool no_ack = false;
  bool sealed = false;
  bool has_mirror_or_sources = false;
  bool has_subject_transform = false;
  bool marks_deletions = false;
  bool persist_async = false;
  bool fast_ingest = false;     // allow_batched
  std::uint64_t begins_at = 0;  // as configured; 0: at 1
  std::int64_t max_msgs = -1;
  std::int64_t max_msgs_per_subject = -1;
  std::int64_t max_bytes = -1;
  std::int64_t max_msg_size = -1;
  std::chrono::nanoseconds max_age{0};
  std::chrono::nanoseconds duplicate_window{0};
  int replicas = 1;
};

// An answer of the JetStream API: the error that it carries, if any.
struct ApiError {
  int code = 0;
  int err_code = 0;
  std::string description;
};
[[nodiscard]] std::optional<ApiError> find_api_error(std::string_view json);
// Error codes that we act on. Source: nats-server, server/errors.json.
inline constexpr int kErrStreamNotFound = 10059;
inline constexpr int kErrMessageNotFound = 10037;
inline constexpr int kErrNoPeers = 10005;  // fewer servers than replicas, at the moment or for good
inline constexpr int kErrConsumerNotFound = 10014;

// Reads the answer to STREAM.INFO or STREAM.CREATE; kBrokerUnavailable when it is not one.
[[nodiscard]] Result<StreamInfo> parse_stream_info(std::string_view json);

// Of the answer to STREAM.INFO with deleted_details: the newest sequence that is listed; 0: none.
[[nodiscard]] Result<std::uint64_t> parse_newest_missing(std::string_view json);

// A message as STREAM.MSG.GET shows it.
struct StoredMessage {
  std::uint64_t seq = 0;
  std::string subject;
  std::string headers;  // "NATS/1.0\r\nName: value\r\n...\r\n", decoded
  std::string data;
};
[[nodiscard]] Result<StoredMessage> parse_stored_message(std::string_view json);
// The value of the first header of that name, compared without regard to case.
[[nodiscard]] std::optional<std::string_view> find_header(std::string_view headers,
                                                          std::string_view name);
// What the message's Postrider-Position says; nothing when no relay has written it.
[[nodiscard]] std::optional<PositionHeader> position_header(const StoredMessage& message);
// The hole that it declares, if any.
[[nodiscard]] std::optional<OrdinalRange> hole_header(const StoredMessage& message);

// One setting that breaks a promise or costs something.
struct SettingProblem {
  bool fatal = false;  // false: a warning of `postrider check`
  std::string setting;
  std::string what;
  std::string remedy;
};
// What is wrong with a stream for carrying `subjects`.
[[nodiscard]] std::vector<SettingProblem> review_settings(const StreamInfo& stream,
                                                          std::string_view subjects);

}  // namespace postrider::wire
