// What PostgreSQL committed, in commit order, by another decoder than ours: a slot of
// test_decoding, its own example plugin. And the same of a message of the stream, so that both can
// be compared.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/faults/campaign/stream_checker.h"
#include "tests/support/nats_client.h"

namespace postrider::campaign {

class Witness {
 public:
  // `superuser`: conninfo in the source, which has the slot "witness".
  explicit Witness(std::string superuser) : superuser_(std::move(superuser)) {}

  // Takes up to so many changes (whole transactions) from the slot and hands over each transaction
  // that has events or captured rows, once. Returns how many lines were read; 0: there is no more.
  // Throws SqlError when the source is away; a later call then goes on.
  std::uint64_t take(std::uint64_t changes, const std::function<void(const Committed&)>& visit);

 private:
  std::string superuser_;
  std::uint64_t taken_to_ = 0;  // end of the last commit handed over: a crashed slot tells it again
};

// The content hash of one line of test_decoding; 0 when it is of no concern.
[[nodiscard]] std::uint64_t hash_of_line(const std::string& line, std::uint64_t xid);
[[nodiscard]] Seen seen_of(const test::StreamMessage& message);
// Of everything that a reader gets.
[[nodiscard]] std::uint64_t hash_of_message(const test::StreamMessage& message);

}  // namespace postrider::campaign
