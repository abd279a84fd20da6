#include "relay/progress/window.h"

#include <string>

namespace postrider {

Window::Window(std::uint64_t base, std::size_t max_messages, std::size_t max_bytes)
    : max_messages_(max_messages), max_bytes_(max_bytes), last_sent_(base) {}

bool Window::has_room(std::size_t bytes) const {
  return in_flight_.empty() || (in_flight_.size() < max_messages_ && bytes_ + bytes <= max_bytes_);
}

void Window::push(Sent sent) {
  sent.mark.seq = ++last_sent_;
  bytes_ += sent.bytes;
  in_flight_.push_back({sent, false});
}

Result<void> Window::acknowledge(const wire::PubAck& ack) {
  using Outcome = wire::PubAck::Outcome;
  const bool through = ack.outcome == Outcome::kStoredThrough;
  if (ack.outcome != Outcome::kStored && !through) return tl::unexpected(classify_refusal(ack));
  const std::uint64_t first = last_sent_ - in_flight_.size() + 1;
  if (ack.seq < first || ack.seq > last_sent_)
    return fail(ErrorKind::kPublishInDoubt, "acknowledged at sequence " + std::to_string(ack.seq) +
                                                ", expected " + std::to_string(first) + " to " +
                                                std::to_string(last_sent_));
  for (std::uint64_t seq = through ? first : ack.seq; seq <= ack.seq; ++seq)
    in_flight_[seq - first].acknowledged = true;
  return {};
}

std::optional<Sent> Window::take_published() {
  if (in_flight_.empty() || !in_flight_.front().acknowledged) return std::nullopt;
  const Sent sent = in_flight_.front().sent;
  in_flight_.pop_front();
  bytes_ -= sent.bytes;
  return sent;
}

Error classify_refusal(const wire::PubAck& ack) {
  using Outcome = wire::PubAck::Outcome;
  const std::string said = ack.description + " (code " + std::to_string(ack.code) + ", err_code " +
                           std::to_string(ack.err_code) + ")";
  switch (ack.outcome) {
    case Outcome::kStored:
    case Outcome::kStoredThrough:
      break;
    case Outcome::kBatchCut:
      return {ErrorKind::kPublishInDoubt, ack.description, ""};
    case Outcome::kDuplicate:
      return {ErrorKind::kPublishInDoubt,
              "the broker took a message for a duplicate of sequence " + std::to_string(ack.seq),
              ""};
    case Outcome::kWrongSequence:
      return {ErrorKind::kPublishInDoubt, "the stream ends elsewhere than expected: " + said, ""};
    case Outcome::kNoResponder:
      return {ErrorKind::kBrokerRefuses, "no stream listens on the subject, or JetStream is away",
              ""};
    case Outcome::kUnreadable:
      return {ErrorKind::kPublishInDoubt, "an acknowledgement that is not one", ""};
    case Outcome::kRefused:
      if (ack.err_code == wire::kErrMessageTooLarge)
        return {ErrorKind::kTooLarge, "the stream refuses a message: " + said,
                "raise the stream's max_msg_size to at least the broker's max_payload"};
      if (ack.err_code == wire::kErrStreamSealed)
        return {ErrorKind::kStreamSettings, "the stream is sealed: " + said,
                "a sealed stream cannot be opened again: name another in stream.name"};
      // Its server has forgotten it, or never knew it: what of it is stored, the stream tells.
      if (ack.err_code == wire::kErrUnknownBatch)
        return {ErrorKind::kPublishInDoubt, "the broker does not know a batch: " + said, ""};
      return {ErrorKind::kBrokerRefuses, "the broker refuses a message: " + said, ""};
  }
  return {ErrorKind::kInternal, "a stored message is no refusal", ""};
}

}  // namespace postrider
