#include "daemon/replay/copy.h"

#include <utility>

namespace postrider {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

void take_headers(std::string_view text, Message& copy) {
  auto at = text.find(kLineEnd);  // behind NATS/1.0
  while (at != std::string_view::npos) {
    at += kLineEnd.size();
    const auto end = text.find(kLineEnd, at);
    const auto colon = text.find(':', at);
    if (end == std::string_view::npos || end == at || colon > end) return;
    const auto name = text.substr(at, colon - at);
    auto value = text.substr(colon + 1, end - colon - 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (!name.starts_with("Nats-")) copy.headers.emplace_back(name, value);
    at = end;
  }
}

}  // namespace

std::string replay_header(const ReplayIdentity& replay, std::uint64_t seq) {
  return "v1 " + replay.stream + " " + std::to_string(seq) + " " + replay.range;
}

bool is_same_replay(const ReplayIdentity& replay, std::string_view value) {
  const std::string head = "v1 " + replay.stream + " ";
  if (!value.starts_with(head)) return false;
  value.remove_prefix(head.size());
  const auto blank = value.find(' ');
  return blank != std::string_view::npos && value.substr(blank + 1) == replay.range;
}

void copy_for_replay(const ReplayIdentity& replay, wire::StoredMessage& original,
                     const PositionHeader& place, Message& copy) {
  copy.subject = replay.prefix + original.subject.substr(replay.source.size());
  copy.headers.clear();
  take_headers(original.headers, copy);
  copy.headers.emplace_back("Nats-Msg-Id", "replay/" + place.position.to_string());
  copy.headers.emplace_back(kReplayHeader, replay_header(replay, original.seq));
  copy.body = std::move(original.data);
  copy.payload = copy.body;
}

}  // namespace postrider
