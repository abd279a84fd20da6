// A session's worth of WAL: pgoutput messages, each behind its length, through decoder, assembler,
// parts and encoder. Events come in order, the last of a transaction is marked and no other, every
// message is legal and says its place, and the same WAL gives the same bytes.
#include <cstring>
#include <optional>
#include <string>

#include "base/jetstream/stream_info.h"
#include "relay/route/encoder.h"
#include "relay/route/parts.h"
#include "relay/transaction/assembler.h"
#include "relay/transaction/backfill_reader.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/message_rules.h"
#include "tests/fuzz/transaction_settings.h"

namespace postrider::fuzz {
namespace {

class Session {
 public:
  explicit Session(const Epochs& epochs) : assembler_(history_, epochs) {}

  // False when the session ends: bytes that no server sends.
  bool feed(std::string_view bytes) {
    const auto message = wire::decode_pgoutput(wire::as_bytes(bytes));
    if (!message) return false;
    if (const auto* truncation = std::get_if<wire::Truncate>(&*message))
      return feed_truncation(*truncation);
    if (!take(assembler_.feed(*message))) return false;
    const auto* logical = std::get_if<wire::LogicalMessage>(&*message);
    if (logical == nullptr || !logical->transactional ||
        logical->prefix != wire::kBackfillMessagePrefix || !assembler_.in_transaction() ||
        !assembler_.carries_backfill())
      return true;
    return feed_backfill(*logical);
  }
  [[nodiscard]] const std::string& published() const { return published_; }

 private:
  bool feed_truncation(const wire::Truncate& truncation) {
    for (const auto oid : truncation.oids)
      if (!take(assembler_.feed(wire::Truncate{{oid}}))) return false;
    return true;
  }
  bool feed_backfill(const wire::LogicalMessage& message) {
    if (!backfill_.open(message)) return false;
    while (true) {
      const auto change = backfill_.next();
      if (!change) return false;
      if (!change->has_value()) return true;
      if (!take(assembler_.feed(**change))) return false;
    }
  }
  bool take(const Result<Step>& step) {
    if (!step) {
      REQUIRE(!step.error().context.empty());
      return false;
    }
    if (step->begin) {
      commit_ = step->begin->commit_lsn;
      previous_.reset();
      complete_ = true;
    }
    if (step->event && !take(*step->event)) return false;
    if (step->end) {
      REQUIRE(step->end->commit_lsn == commit_ && step->end->end_lsn > commit_);
      REQUIRE(complete_);  // its last event said so
    }
    return true;
  }
  bool take(const AssembledEvent& event) {
    REQUIRE(event.position.commit_lsn == commit_);
    REQUIRE(!previous_ || *previous_ < event.position);
    REQUIRE(!previous_ || !complete_);  // nothing follows the last
    previous_ = event.position;
    complete_ = event.last;
    const auto parts = part_count(event);
    if (!parts) return false;
    std::string joined;
    for (std::uint32_t i = 0; i < message_count(event, *parts); ++i)
      if (!publish(message_of(event, i, *parts), joined)) return false;
    if (event.epoch->settings.format == EventFormat::kPlain || event.event->id.empty())
      REQUIRE(joined == event.event->payload);
    return true;
  }
  bool publish(const AssembledEvent& part, std::string& joined) {
    Message message;
    if (!encode(part, ++ordinal_, message)) return false;
    require_legal(message);
    wire::StoredMessage stored;
    stored.headers = header_lines(message);
    const auto header = wire::position_header(stored);
    REQUIRE(header && header->ordinal == ordinal_ && header->position == part.position);
    joined += message.payload;
    published_.append(message.subject).append(stored.headers).append(message.payload);
    return true;
  }

  const TimelineHistory history_{1};
  Assembler assembler_;
  BackfillReader backfill_;
  Lsn commit_;
  std::optional<Position> previous_;
  bool complete_ = true;
  std::uint64_t ordinal_ = 0;
  std::string published_;
};

std::string run(const Epochs& epochs, Input in) {
  Session session(epochs);
  while (!in.empty() && session.feed(in.long_text())) {
  }
  return session.published();
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  Input in({data, size});
  const auto epochs = make_epochs(in.u8());
  REQUIRE(run(epochs, in) == run(epochs, in));
  return 0;
}
