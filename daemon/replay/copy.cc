#include "daemon/replay/copy.h"

#include <utility>

#include "base/nats/headers.h"

namespace postrider {
namespace {

// Values as they are: what a blank at either end means is the reader's to say.
void take_headers(std::string_view block, Message& copy) {
  nats::for_each_header(block, [&](std::string_view name, std::string_view value) {
    if (value.starts_with(' ')) value.remove_prefix(1);  // which goes before every value
    if (!name.starts_with("Nats-")) copy.headers.emplace_back(name, value);
  });
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
