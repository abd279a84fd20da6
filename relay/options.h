// Everything that the relay is told at start. Filled by daemon/ from the configuration file; every
// default and its reason is in docs/operating.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/jetstream/nats_options.h"
#include "relay/progress/epoch.h"

namespace postrider {

using std::chrono::milliseconds;

struct SourceOptions {
  std::string name;      // first token of every subject; key of the checkpoint row
  std::string conninfo;  // libpq, of the relay's role
  std::string slot;
  std::string publication = "postrider";
};

struct StreamOptions {
  std::string name;
  bool create = true;
  int replicas = 1;
  std::int64_t max_bytes = -1;  // -1: no limit
  milliseconds max_age{0};      // 0: for ever
  milliseconds duplicate_window{5000};
  bool fast_ingest = true;  // where the broker has it, and messages have no ids
};

enum class ConfirmMode { kSynced, kAcked };

struct RelayOptions {
  SourceOptions source;
  NatsOptions nats;
  StreamOptions stream;

  ConfirmMode confirm = ConfirmMode::kSynced;
  milliseconds broker_sync_interval{120'000};
  milliseconds confirm_margin{10'000};
  milliseconds confirm_interval{10'000};       // at most one confirmation in this time under load
  milliseconds idle_confirm_interval{60'000};  // and while nothing is carried
  std::size_t window_messages = 4096;
  std::size_t window_bytes = 16UL * 1024 * 1024;
  bool message_id = true;
  bool wal_store = false;
  EventFormat format = EventFormat::kPlain;
  std::vector<CaptureRule> captures;
  std::vector<OutboxRule> outboxes;
  std::size_t part_bytes = 512UL * 1024;  // of a row change's payload in one message
  bool accept_public_emit = false;
  bool announce = true;
  milliseconds ack_timeout{10'000};
  milliseconds stall_after{30'000};
  milliseconds takeover_after{3'000};
  milliseconds wal_sender_timeout{10'000};
  milliseconds maintain_interval{600'000};
  bool until_caught_up = false;
};

}  // namespace postrider
