// Whether the source's WAL still holds the transaction that the stream's newest message is of: a
// restored backup writes other commits over its LSNs, and nothing but the content tells.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "relay/postgres/replication.h"
#include "relay/progress/decision.h"

namespace postrider {

enum class MarkCheck {
  kHolds,    // or nothing was published that a session would compare
  kBusy,     // somebody else decodes from the slot: beside a dry run a relay, which has compared
  kTooLong,  // nothing came in time
};

// Decodes from the slot, as a session at `start` does, up to the first transaction, and confirms
// nothing. The error is the relay's: kHistoryDiffers, or kPublicationMissing where the server
// cannot decode. Throws Failure. Waits for the slot for `patience`, then for its WAL for `limit`.
[[nodiscard]] Result<MarkCheck> check_mark(
    const ReplicationOptions& options, const std::string& slot,
    const std::vector<std::string>& publications, bool messages, const Start& start,
    std::uint32_t timeline, std::chrono::milliseconds patience, std::chrono::milliseconds limit);

}  // namespace postrider
