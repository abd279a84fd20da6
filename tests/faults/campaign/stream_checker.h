// Compares the stream with what PostgreSQL committed and with what the writers know. Pure.
//
// C1 lost, C2 phantoms, C3 duplicates, C4 and C5 order, C6 torn transactions (in the stream), and
// the format's own rules: ordinals without gaps, rising positions, `last`, epochs that never fall.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/faults/campaign/history.h"

namespace postrider::campaign {

// Postrider-Position, read by the tests' own code.
struct Header {
  std::uint64_t ordinal = 0;
  std::string position;
  std::uint64_t commit_lsn = 0;  // where the commit record begins
  std::uint64_t xid = 0;
  std::uint64_t commit_time_us = 0;
  std::uint64_t epoch = 0;
  bool last = false;
};
[[nodiscard]] std::optional<Header> parse_header(const std::string& text);

// A transaction that was committed, as another decoder of the WAL has it: its events in order, each
// as a hash of what must be in its message.
struct Committed {
  std::uint64_t xid = 0;
  std::uint64_t end_lsn = 0;
  std::vector<std::uint64_t> events;
};

// A message of the stream, reduced to what is compared.
struct Seen {
  std::uint64_t seq = 0;
  std::uint64_t stored_us = 0;  // by the broker's clock
  std::string header;           // Postrider-Position as it is
  std::uint64_t hash = 0;       // made as that of Committed::events
  std::optional<Payload> made;  // of an event of the writers
};

// How far the stream was when a transaction's last event was in it.
struct Mark {
  std::uint64_t commit_lsn = 0;
  std::uint64_t stored_us = 0;  // its last event, by the broker's clock
  std::uint64_t ordinal = 0;    // of its last event
};

struct StreamVerdict {
  std::uint64_t events = 0;
  std::uint64_t transactions = 0;
  std::uint64_t lost = 0;
  std::uint64_t duplicated = 0;
  std::uint64_t reordered = 0;
  std::uint64_t torn = 0;
  std::uint64_t phantom = 0;
  std::uint64_t malformed = 0;
  std::vector<std::string> problems;  // the first few

  [[nodiscard]] std::uint64_t bad() const {
    return lost + duplicated + reordered + torn + phantom + malformed;
  }
};

class StreamChecker {
 public:
  explicit StreamChecker(const std::vector<History>& histories);

  // In commit order; all of them before the first message.
  void expect(const Committed& transaction);
  // In the stream's order.
  void see(const Seen& message);
  // After the last message.
  [[nodiscard]] StreamVerdict finish();

  [[nodiscard]] const std::vector<Mark>& marks() const { return marks_; }

 private:
  void check_header(const Seen& message, std::size_t place);
  void check_writer(const Seen& message);
  std::optional<std::size_t> place_of(const Seen& message);
  void problem(std::uint64_t& counter, const std::string& text);

  struct Event {
    std::uint64_t hash = 0;
    std::uint32_t xid = 0;
    bool last = false;
    bool seen = false;
  };
  const std::vector<History>& histories_;
  std::vector<Event> expected_;
  std::size_t next_ = 0;
  std::unordered_map<std::uint64_t, std::size_t> places_;  // made when first needed
  std::string position_;
  std::uint64_t epoch_ = 0;
  std::uint64_t open_xid_ = 0;  // of the transaction whose last event has not come
  std::vector<std::vector<std::uint16_t>> seen_;  // of each writer's transactions
  std::vector<Mark> marks_;
  StreamVerdict verdict_;
};

}  // namespace postrider::campaign
