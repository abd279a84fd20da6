// One error type for everything that can go wrong between PostgreSQL and the broker, and one table
// that says what each kind means for the daemon: try again, or halt and ask the operator.
//
// Pure code returns Result<T>. Adapters and the session throw Failure, which carries the same
// Error; third-party errors and exceptions are translated once, where the adapter meets the
// library, and never by matching message text.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace postrider {

enum class ErrorKind {
  // Transient: the session ends and a new one starts, with backoff.
  kPostgresUnavailable,
  kBrokerUnavailable,
  kSessionFenced,   // a newer session owns the source
  kPublishInDoubt,  // a bad, missing or unexpected acknowledgement: read the stream again
  kBrokerRefuses,   // stream full, no leader, overloaded: wait, readiness red
  // Halts: only a person can say what is right.
  kWrongSystem,       // another cluster behind the same address
  kSourceWentBack,    // the source was restored from an older state
  kTimelineDiverged,  // published commits that the new primary never had
  kSlotMissing,
  kSlotUnusable,       // invalidated, recreated, two_phase, or moved by somebody else
  kDurableEventsLost,  // the stream lacks events that the source was allowed to forget
  kHistoryDiffers,     // the transaction at the mark's LSN is absent or another one
  kForeignMessage,     // a message in the stream that this relay cannot have written
  kStreamSettings,     // the stream's settings break a promise
  kSchemaVersion,      // the outbox schema is newer or older than this binary knows
  kNotInitialised,     // `postrider migrate up` has not finished
  kPublicationMissing,
  kProtocol,          // bytes from the server that cannot be decoded
  kMalformedEvent,    // an outbox row or logical message that cannot be carried
  kTooLarge,          // larger than the broker accepts
  kNoPermission,      // PostgreSQL or NATS refuses for want of a right
  kEncoderMissing,    // an epoch needs an encoder version that this binary lacks
  kPreflight,         // `postrider check` found a failure
  kRepairUnfinished,  // `postrider repair` has begun and was interrupted
  // Halts of one read model: the others go on.
  kStreamGap,        // events are missing in the stream
  kTornTransaction,  // a source transaction without its last event
  kStreamBehind,     // the stream no longer holds what the read model needs next
  kPoisonEvent,      // a projection refuses an event
  kReplicaTable,     // a replica's target table is missing, or cannot take the source's rows
  kConfiguration,
  kInternal,  // an assertion of ours
};

enum class Disposition { kRetry, kHalt };

struct ErrorKindInfo {
  std::string_view name;  // stable, lower_snake: logs, status, metrics label
  Disposition disposition;
  int exit_code;  // of a halt; 75 (EX_TEMPFAIL) for what is retried
};

// The table. Every exit code is documented in docs/operating.md.
[[nodiscard]] const ErrorKindInfo& info(ErrorKind kind);

struct Error {
  ErrorKind kind;
  std::string context;  // what happened, with position and names
  std::string remedy;   // what to do about it; empty for what heals by itself

  [[nodiscard]] std::string to_string() const;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(ErrorKind kind, std::string context,
                                                std::string remedy = {}) {
  return tl::unexpected<Error>(Error{kind, std::move(context), std::move(remedy)});
}

// Thrown by adapters and by the session; caught once, where a session or a command ends.
class Failure : public std::runtime_error {
 public:
  explicit Failure(Error error) : std::runtime_error(error.to_string()), error_(std::move(error)) {}
  Failure(ErrorKind kind, std::string context, std::string remedy = {})
      : Failure(Error{kind, std::move(context), std::move(remedy)}) {}

  [[nodiscard]] const Error& error() const { return error_; }

 private:
  Error error_;
};

// The value, or throws the error as a Failure.
template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw Failure(std::move(result.error()));
  return std::move(*result);
}

}  // namespace postrider
