// Epochs: numbered, frozen sets of everything that selects, orders or encodes events.
//
// Whoever publishes ordinal n must publish the same bytes, also a relay that was paused for an hour
// under older settings. So a change of settings does not take effect at once: it opens an epoch
// that begins at a WAL position read after the new relay owned the slot. Every commit that an older
// relay can still hold lies before that position and is encoded with the settings that it was
// received under.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "postrider/lsn.h"
#include "postrider/position.h"
#include "relay/progress/capture_rule.h"
#include "relay/progress/outbox_rule.h"

namespace postrider {

// The version of relay/route/encoder.cc's output. Raise it with every change of its bytes, and keep
// the old encoder for as long as an epoch may need it.
inline constexpr int kEncoderVersion = 1;

// How the events of the outbox are encoded.
enum class EventFormat {
  kPlain,                  // the payload as it is
  kCloudEventsStructured,  // CloudEvents 1.0, NATS binding: one JSON object
  kCloudEventsBinary,      // the payload as it is, attributes as ce- headers
};

struct EpochSettings {
  int encoder_version = kEncoderVersion;
  std::string source;      // first token of every subject
  bool message_id = true;  // send Nats-Msg-Id
  bool wal_store = false;  // carry, and count, transactional logical messages
  EventFormat format = EventFormat::kPlain;
  std::vector<CaptureRule> captures = {};
  bool backfill = false;  // take the messages of backfills apart, and count logical messages
  std::vector<OutboxRule> outboxes = {};
  std::size_t part_bytes = 0;  // of a row change's payload in one message; 0: rows are not split

  // False: row changes are neither carried nor counted.
  [[nodiscard]] bool carries_rows() const { return !captures.empty() || !outboxes.empty(); }

  friend bool operator==(const EpochSettings&, const EpochSettings&) = default;
};

struct Epoch {
  std::uint32_t number = 0;
  std::uint32_t timeline = 0;  // the server's when the epoch was opened
  Lsn from;                    // inclusive: the first commit LSN that it may encode
  EpochSettings settings;
  // What its first message declares, if that has the ordinal behind it. Epochs that are opened
  // before that message was published take it over.
  std::optional<OrdinalRange> hole = std::nullopt;

  friend bool operator==(const Epoch&, const Epoch&) = default;
};

// More than any server opens in the WAL that a standby lacks when it is promoted.
constexpr std::uint32_t kEpochsOfATimeline = 100;

// The epochs still needed, rising in number and `from`. Stored as JSON in the checkpoint row.
class Epochs {
 public:
  Epochs() = default;

  // kEncoderMissing when one of them needs an encoder version that this binary lacks, kProtocol for
  // text that is not ours.
  [[nodiscard]] static Result<Epochs> from_json(std::string_view json);
  [[nodiscard]] std::string to_json() const;

  [[nodiscard]] bool empty() const { return epochs_.empty(); }
  // Needs at least one epoch.
  [[nodiscard]] const Epoch& newest() const { return epochs_.back(); }
  // The epoch of a commit at `lsn`: the newest that begins at or before it. Needs at least one
  // epoch; a commit before the first belongs to the first.
  [[nodiscard]] const Epoch& at(Lsn lsn) const;
  [[nodiscard]] std::vector<std::uint32_t> numbers() const;
  // True when any epoch counts logical messages, so that the decoder must send them.
  [[nodiscard]] bool any_messages() const;
  // True when any epoch's messages carry an id.
  [[nodiscard]] bool any_message_ids() const;
  // True when any epoch carries rows of captured tables, or of outbox tables of other tools.
  [[nodiscard]] bool any_captures() const;

  // True when a relay with these settings on this timeline has to open an epoch.
  [[nodiscard]] bool needs_new(const EpochSettings& settings, std::uint32_t timeline) const;
  // Opens the next epoch. `from` is ignored for the very first, which covers everything. Its number
  // is the next one; on a timeline that is newer than the newest epoch's, kEpochsOfATimeline more
  // for each promotion since: the row that the promoted server has may lack epochs that were opened
  // before, under which messages may yet arrive in the stream, and a number never means two.
  void open(std::uint32_t timeline, Lsn from, EpochSettings settings);
  // After a repair: everything from `from` on belongs to a new epoch with the newest one's settings
  // that declares `hole`, if any; the others are forgotten. Its number is above the newest one's
  // and `used`, which the stream may hold although the row does not know of it. Needs at least one
  // epoch.
  void reopen(std::uint32_t timeline, Lsn from, std::optional<OrdinalRange> hole,
              std::uint32_t used = 0);
  // Forgets epochs that end at or before `durable`: no relay will ever encode for them again.
  void forget_before(Lsn durable);

 private:
  [[nodiscard]] std::uint32_t next_number(std::uint32_t timeline) const;

  std::vector<Epoch> epochs_;
};

}  // namespace postrider
