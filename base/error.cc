#include "base/error.h"

#include <array>
#include <cstddef>

namespace postrider {
namespace {

using enum Disposition;

constexpr int kTemporaryFailure = 75;  // EX_TEMPFAIL of sysexits.h

// In the order of ErrorKind.
constexpr std::array<ErrorKindInfo, 31> kTable = {{
    {"postgres_unavailable", kRetry, kTemporaryFailure},
    {"broker_unavailable", kRetry, kTemporaryFailure},
    {"session_fenced", kRetry, kTemporaryFailure},
    {"publish_in_doubt", kRetry, kTemporaryFailure},
    {"broker_refuses", kRetry, kTemporaryFailure},
    {"wrong_system", kHalt, 20},
    {"source_went_back", kHalt, 21},
    {"timeline_diverged", kHalt, 22},
    {"slot_missing", kHalt, 23},
    {"slot_unusable", kHalt, 24},
    {"durable_events_lost", kHalt, 25},
    {"history_differs", kHalt, 26},
    {"foreign_message", kHalt, 27},
    {"stream_settings", kHalt, 28},
    {"schema_version", kHalt, 29},
    {"not_initialised", kHalt, 30},
    {"publication_missing", kHalt, 31},
    {"protocol", kHalt, 32},
    {"malformed_event", kHalt, 33},
    {"too_large", kHalt, 34},
    {"no_permission", kHalt, 35},
    {"encoder_missing", kHalt, 36},
    {"preflight", kHalt, 37},
    {"repair_unfinished", kHalt, 43},
    {"stream_gap", kHalt, 38},
    {"torn_transaction", kHalt, 39},
    {"stream_behind", kHalt, 40},
    {"poison_event", kHalt, 41},
    {"replica_table", kHalt, 42},
    {"configuration", kHalt, 78},
    {"internal", kHalt, 70},
}};
static_assert(kTable.size() == static_cast<std::size_t>(ErrorKind::kInternal) + 1);

}  // namespace

const ErrorKindInfo& info(ErrorKind kind) {
  return kTable.at(static_cast<std::size_t>(kind));
}

std::string Error::to_string() const {
  std::string text(info(kind).name);
  text += ": ";
  text += context;
  if (!remedy.empty()) text += "\n  remedy: " + remedy;
  return text;
}

}  // namespace postrider
