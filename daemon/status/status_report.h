// What `postrider status` shows: how far the events of a source have come, from outside. Reads
// PostgreSQL and NATS with the relay's own rights, takes no lock and disturbs nothing; the figures
// are of moments close together, not of one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/jetstream/stream_info.h"
#include "daemon/status/readmodel_report.h"
#include "daemon/status/unpublished.h"
#include "postrider/lsn.h"
#include "postrider/position.h"
#include "relay/options.h"
#include "relay/postgres/source.h"

namespace postrider {

struct StatusReport {
  std::string source;

  // PostgreSQL; nothing of it when it cannot be reached.
  std::optional<Checkpoint> checkpoint;  // newest durable message, session
  std::optional<SlotState> slot;
  std::optional<WalSender> wal_sender;  // who streams from the slot
  std::optional<LockHolder> owner;      // who owns the source
  std::optional<Lsn> flushed;           // end of the server's WAL
  std::optional<std::uint32_t> epoch;   // the newest that was opened

  // NATS.
  std::string stream_name;
  std::optional<wire::StreamInfo> stream;
  std::optional<PositionHeader> published;  // of the stream's newest message

  // Lag. Bytes: WAL beyond what the relay is known to have received (where the role may not see
  // that: beyond the newest published event or confirmation). Unpublished: rows of the table store
  // that are not in the stream; seconds: age of the oldest of them, else 0. Nothing where it cannot
  // be told. Events: in the stream but not known to be durable.
  std::optional<std::uint64_t> lag_bytes;
  std::optional<Unpublished> unpublished;
  std::optional<double> lag_seconds;
  std::optional<std::uint64_t> events_not_durable;

  std::vector<ReadModelReport> readmodels;  // where the configuration has any

  // Empty when all is well. A sentence each; those of the read models are in theirs.
  std::vector<std::string> problems;

  [[nodiscard]] bool healthy() const;
};

// Never throws for a server that is away: that is a problem in the report.
[[nodiscard]] StatusReport collect_status(const RelayOptions& options);

[[nodiscard]] std::string to_text(const StatusReport& report);
[[nodiscard]] std::string to_json(const StatusReport& report);

}  // namespace postrider
