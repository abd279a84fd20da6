#include "daemon/tail/stream_reader.h"

#include <algorithm>

namespace postrider {

wire::StreamInfo StreamReader::require_stream() {
  const auto stream = client_.stream_info(stream_);
  if (!stream)
    throw Failure(ErrorKind::kStreamSettings, "stream \"" + stream_ + "\" does not exist",
                  "start the relay: it creates the stream");
  end_ = stream->last_seq;
  incarnation_ = stream->created;
  return *stream;
}

void StreamReader::from_start() {
  next_ = std::max<std::uint64_t>(1, require_stream().first_seq);
}

void StreamReader::from_now() {
  next_ = require_stream().last_seq + 1;
}

void StreamReader::from_position(const Position& position) {
  const auto stream = require_stream();
  std::uint64_t low = std::max<std::uint64_t>(1, stream.first_seq);
  std::uint64_t high = stream.last_seq + 1;  // everything from here on is at or after `position`
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    const auto message = client_.message_from(stream_, middle, filter_);
    if (!message || message->seq >= high) {
      high = middle;  // nothing of ours between
      continue;
    }
    const auto header = wire::position_header(*message);
    if (header && header->position < position)
      low = message->seq + 1;
    else
      high = middle;
  }
  next_ = low;
}

bool StreamReader::restart_if_made_anew() {
  const auto stream = client_.stream_info(stream_);
  if (!stream || stream->created == incarnation_) return false;
  from_start();
  return true;
}

std::optional<wire::StoredMessage> StreamReader::next() {
  try {
    auto message = client_.message_from(stream_, next_, filter_);
    if (message) next_ = message->seq + 1;
    return message;
  } catch (const Failure&) {
    if (client_.stream_info(stream_)) throw;
    return std::nullopt;
  }
}

}  // namespace postrider
