// The settings that the target `transaction` runs under; a byte chooses among them.
#pragma once

#include <cstdint>

#include "relay/progress/epoch.h"

namespace postrider::fuzz {

// Bits: 1 Debezium's envelope, 2 columns replaced and renamed, 4 `wal` store, 8 backfills, 16 an
// outbox table of another tool, 32 small parts, 64 CloudEvents, 128 an older epoch without
// captures.
[[nodiscard]] inline Epochs make_epochs(std::uint8_t choice) {
  const auto on = [choice](unsigned bit) { return (choice & bit) != 0; };
  Epochs epochs;
  EpochSettings settings;
  settings.source = "shop";
  if (on(128)) epochs.open(1, Lsn{}, settings);
  CaptureRule rule;
  rule.tables = {"public.*"};
  rule.subject = "cdc.{table}.{op}.{key}.{column:name}";
  rule.format = on(1) ? RowFormat::kDebezium : RowFormat::kPostrider;
  rule.tombstones = on(1);
  if (on(2)) {
    rule.mask = {"name"};
    rule.hash = {"big"};
    rule.rename = {{"n", "renamed"}};
  }
  settings.captures = {rule};
  settings.wal_store = on(4);
  settings.backfill = on(8);
  OutboxRule outbox;
  outbox.table = "public.outboxevent";
  if (on(16)) settings.outboxes = {outbox};
  if (on(32)) settings.part_bytes = 64;
  if (on(64)) settings.format = EventFormat::kCloudEventsStructured;
  epochs.open(1, Lsn{0x1000}, settings);
  return epochs;
}

}  // namespace postrider::fuzz
