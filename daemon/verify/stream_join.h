// Rows of the outbox against messages of the stream, by id. Pure: works on one partition of ids at
// a time, so that memory is bounded by the partition.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/verify/stream_findings.h"

namespace postrider {

using Digest = std::array<std::uint8_t, 16>;

struct OutboxRow {
  Digest id;
  Digest content;               // of subject and payload
  std::uint64_t xid = 0;        // transaction, with its epoch
  std::int64_t created_us = 0;  // start of the transaction, microseconds since 1970
  std::uint64_t command = 0;    // number of the statement within it
};

struct StoredEvent {
  Digest id;
  Digest content;
  std::uint64_t ordinal = 0;
  std::uint64_t xid = 0;  // without its epoch: 32 bits
};

// Where an event stands, and which statement wrote it.
struct Placed {
  std::uint64_t ordinal = 0;
  std::uint64_t xid = 0;
  std::uint64_t command = 0;
};

struct JoinCounts {
  std::uint64_t matched = 0;
  std::uint64_t missing = 0;       // rows without an event that may not be older than the stream
  std::uint64_t out_of_range = 0;  // rows without an event that may be
  std::uint64_t without_row = 0;   // events without a row: the wal store's, or rows past retention
};

// Joins one partition. A row whose transaction began at or before `horizon_us` (nothing: none) may
// have been carried by messages that are gone by age. Findings of rows that are missing are added
// only where `accuse`: else they may not be published yet. `placed` gets every match.
void join(std::vector<OutboxRow> rows, std::vector<StoredEvent> events,
          std::optional<std::int64_t> horizon_us, bool accuse, StreamFindings& findings,
          JoinCounts& counts, std::vector<Placed>& placed);

// Holds matches, rising in ordinal, to the order of the statements that wrote them. Within one
// statement the order cannot be told.
class StatementOrder {
 public:
  explicit StatementOrder(StreamFindings& findings) : findings_(findings) {}
  void accept(const Placed& placed);

 private:
  StreamFindings& findings_;
  std::optional<Placed> last_;
};

// "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" or 32 hexadecimal digits; nothing for anything else.
[[nodiscard]] std::optional<Digest> parse_digest(std::string_view text);
[[nodiscard]] std::string uuid_text(const Digest& id);

}  // namespace postrider
