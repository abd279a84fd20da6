// What the writers know of their own transactions: the campaign's oracle beside the WAL's. A writer
// that lost its connection does not know.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace postrider::campaign {

enum class Outcome : std::uint8_t { kUnknown, kCommitted, kAborted };

struct Attempt {
  Outcome outcome = Outcome::kUnknown;
  std::uint16_t events = 0;  // of the outbox, without those of aborted savepoints
};

// Of one writer; the index is the transaction's number.
using History = std::vector<Attempt>;

// The payload of an outbox event: which one it is, and the cents that it moves.
struct Payload {
  long writer = 0;
  long transaction = 0;
  long index = 0;
  long events = 0;  // of its transaction
  long cents = 0;
  bool aborted = false;  // written in a savepoint that was rolled back

  friend bool operator==(const Payload&, const Payload&) = default;
};

// The cents of an event: those of a transaction add up to nothing.
[[nodiscard]] constexpr long cents_of(long transaction, long index, long events) {
  constexpr long kFactor = 37;
  constexpr long kModulus = 100;
  if (index + 1 < events) return (index * kFactor + transaction) % kModulus;
  long sum = 0;
  for (long i = 0; i + 1 < events; ++i) sum += (i * kFactor + transaction) % kModulus;
  return -sum;
}

// Of the text that jsonb makes of it; false when it is none.
[[nodiscard]] bool parse_payload(const std::string& text, Payload& payload);

}  // namespace postrider::campaign
