#include "daemon/verify/stream_join.h"

#include <algorithm>

namespace postrider {
namespace {

constexpr std::uint64_t kXidBits = 0xFFFFFFFF;

std::string describe(const StoredEvent& event) {
  return "event " + uuid_text(event.id) + ", ordinal " + std::to_string(event.ordinal);
}

// The same id on both sides: `rows` rows and `events` messages.
void compare(const OutboxRow* row, std::size_t rows, const StoredEvent* event, std::size_t events,
             StreamFindings& findings, JoinCounts& counts, std::vector<Placed>& placed) {
  // A repair writes a row again under its id, to be carried again into another stream.
  for (std::size_t surplus = std::max<std::size_t>(rows, 1); surplus < events; ++surplus)
    findings.add(StreamFault::kDuplicate,
                 describe(event[surplus]) + " is also ordinal " + std::to_string(event->ordinal));
  if (rows == 0) {
    counts.without_row += events;
    return;
  }
  counts.matched += rows;
  if (rows > 1 || events > 1) return;  // which row is whose cannot be told
  if (row->content != event->content)
    findings.add(StreamFault::kAltered, describe(*event) + ": subject or payload is not the row's");
  if ((row->xid & kXidBits) != event->xid)
    findings.add(StreamFault::kTorn, describe(*event) + " stands in transaction " +
                                         std::to_string(event->xid) + ", its row was written by " +
                                         std::to_string(row->xid & kXidBits));
  placed.push_back({event->ordinal, row->xid, row->command});
}

void count_missing(const OutboxRow& row, std::optional<std::int64_t> horizon_us, bool accuse,
                   StreamFindings& findings, JoinCounts& counts) {
  if (horizon_us && row.created_us <= *horizon_us) {
    ++counts.out_of_range;
    return;
  }
  ++counts.missing;
  if (accuse)
    findings.add(StreamFault::kLost, "event " + uuid_text(row.id) + " of transaction " +
                                         std::to_string(row.xid) + " is not in the stream");
}

}  // namespace

void join(std::vector<OutboxRow> rows, std::vector<StoredEvent> events,
          std::optional<std::int64_t> horizon_us, bool accuse, StreamFindings& findings,
          JoinCounts& counts, std::vector<Placed>& placed) {
  std::ranges::sort(rows, {}, &OutboxRow::id);
  std::ranges::sort(events, [](const auto& a, const auto& b) {
    return a.id != b.id ? a.id < b.id : a.ordinal < b.ordinal;
  });
  std::size_t r = 0;
  std::size_t e = 0;
  while (r < rows.size() || e < events.size()) {
    const bool from_rows = e == events.size() || (r < rows.size() && rows[r].id <= events[e].id);
    const Digest id = from_rows ? rows[r].id : events[e].id;
    const std::size_t first_row = r;
    const std::size_t first_event = e;
    while (r < rows.size() && rows[r].id == id) ++r;
    while (e < events.size() && events[e].id == id) ++e;
    if (e == first_event)
      count_missing(rows[first_row], horizon_us, accuse, findings, counts);
    else
      compare(rows.data() + first_row, r - first_row, events.data() + first_event, e - first_event,
              findings, counts, placed);
  }
}

void StatementOrder::accept(const Placed& placed) {
  if (last_ && last_->xid == placed.xid && placed.command < last_->command)
    findings_.add(StreamFault::kOrder,
                  "ordinal " + std::to_string(placed.ordinal) + " was written before ordinal " +
                      std::to_string(last_->ordinal) + " of the same transaction");
  last_ = placed;
}

std::optional<Digest> parse_digest(std::string_view text) {
  Digest digest{};
  std::size_t digits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    int value = 0;
    if (c >= '0' && c <= '9')
      value = c - '0';
    else if (c >= 'a' && c <= 'f')
      value = c - 'a' + 10;
    else if (c >= 'A' && c <= 'F')
      value = c - 'A' + 10;
    else
      return std::nullopt;
    if (digits == 2 * digest.size()) return std::nullopt;
    auto& byte = digest.at(digits++ / 2);
    byte =
        static_cast<std::uint8_t>(static_cast<unsigned>(byte) << 4U | static_cast<unsigned>(value));
  }
  if (digits != 2 * digest.size()) return std::nullopt;
  return digest;
}

std::string uuid_text(const Digest& id) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < id.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[id.at(i) >> 4U];
    text += kDigits[id.at(i) & 0xFU];
  }
  return text;
}

}  // namespace postrider
