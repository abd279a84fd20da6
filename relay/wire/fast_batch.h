// Fast-ingest batches of JetStream (nats-server 2.14 and later, stream setting allow_batched): many
// messages, and one answer for all up to one of them. Pure.
//
// The reply subject of each message says which of which batch it is, and what it does:
//   <inbox>.<batch>.<flow>.fail.<number>.<operation>.$FI
// The server answers after every <flow> messages, or more often, and when the batch ends. "fail": a
// message that is refused, or missing, ends the batch, and nothing behind it is stored. As each
// message also names the sequence that must precede it, a batch is a fence: once somebody else has
// published, nothing more of it gets in.
//
// Messages that follow one another at once are one batch. One is open at a time, and the next
// begins once the end of the one before is answered.
// Source: nats-architecture-and-design, ADR-50; nats-server's stream.go and jetstream_batching.go.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "relay/wire/pub_ack.h"

namespace postrider::wire {

class FastBatch {
 public:
  // `inbox` is a subject that nobody else uses, which answers come below; an answer is asked for
  // every `flow` messages, at least 1.
  FastBatch(std::string inbox, std::uint16_t flow);

  // The reply subject of the next message, which opens a batch where none is open; valid until the
  // next call. `expected_last` is the sequence that must precede it. Not while ending().
  [[nodiscard]] std::string_view next(std::uint64_t expected_last);
  // How far before the end of a reply subject its operation stands, and the one that makes the
  // message its batch's last.
  static constexpr std::size_t kOperationFromEnd = 5;
  static constexpr char kCommit = '2';
  // The batch has ended with its newest message.
  void end() { ending_ = true; }
  // The batch ends behind its newest message: the reply subject of the empty message that says so.
  // Needs an open batch. Where all of it is answered already, nothing is waited for.
  [[nodiscard]] std::string_view end_of_batch();
  // The sequence of the newest message.
  [[nodiscard]] std::uint64_t last_seq() const { return base_ + sent_; }

  // Messages are in it, and nothing has ended it.
  [[nodiscard]] bool open() const { return sent_ > 0 && !ending_; }
  // Ended, and not all of it is answered.
  [[nodiscard]] bool ending() const { return ending_; }
  // The server will answer some message of it before it ends.
  [[nodiscard]] bool answer_due() const { return sent_ - answered_ >= flow_; }

  // What came on `subject`, below the inbox, as the answer to all messages up to its seq. Nothing
  // for what tells nothing new, or is not of this batch.
  [[nodiscard]] std::optional<PubAck> accept(std::string_view subject, std::string_view json);
  // True when the answer is to a message of this batch, whatever it says.
  [[nodiscard]] bool is_own(std::string_view subject) const;

 private:
  std::string_view reply_subject(std::uint64_t number, char operation);
  void close();

  std::string inbox_;
  std::string id_;  // a batch's name, which the server knows it by, less its number
  std::uint64_t flow_;
  std::uint64_t batches_ = 0;
  std::string subject_;         // of the newest reply
  std::size_t prefix_ = 0;      // of it: what all of this batch have in common
  std::uint64_t base_ = 0;      // the sequence before the batch's first
  std::uint64_t sent_ = 0;      // messages of the batch; 0: none is open
  std::uint64_t answered_ = 0;  // of them
  bool ending_ = false;
};

}  // namespace postrider::wire
