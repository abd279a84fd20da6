// The answer of JetStream to one publish. Pure.
//
//   {"stream":"S","seq":N[,"domain":"D"][,"duplicate":true][,"batch":"B","count":C]}   or
//   {"error":{"code":C,"err_code":E,...},...}
//
// Source: NATS documentation, "JetStream wire API reference", PubAck.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postrider::wire {

struct PubAck {
  enum class Outcome : std::uint8_t {
    kStored,         // seq is where
    kStoredThrough,  // and so are all before it: of a fast-ingest batch
    kDuplicate,  // the server believes it has the message already, at seq: not an acknowledgement
    kWrongSequence,  // Nats-Expected-Last-Sequence did not hold
    kRefused,        // any other error: err_code and description say which
    kNoResponder,    // no stream listens on the subject, or JetStream is away
    kBatchCut,       // a fast-ingest batch ended before its last message: description says how
    kUnreadable,     // not a PubAck
  };
  Outcome outcome = Outcome::kUnreadable;
  std::uint64_t seq = 0;
  int code = 0;      // HTTP-like
  int err_code = 0;  // JetStream's own
  std::string description;
};

// JetStream's error codes that the relay acts on. Source: nats-server, server/errors.json.
inline constexpr int kErrWrongLastSequence = 10071;
inline constexpr int kErrMessageTooLarge = 10054;
inline constexpr int kErrStreamSealed = 10109;
inline constexpr int kErrUnknownBatch = 10208;

// Never fails: what cannot be read is kUnreadable.
[[nodiscard]] PubAck parse_pub_ack(std::string_view json);

}  // namespace postrider::wire
