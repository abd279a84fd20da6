// The subcommands that main.cc wires up. Each returns the process's exit code, or throws Failure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/replay/replay.h"
#include "readmodel/apply_session.h"

namespace postrider {

inline constexpr int kExitOk = 0;
inline constexpr int kExitNegative =
    1;  // the answer is no: a check failed, the status is not healthy

inline constexpr int kExitTemporary = 75;  // not done, and worth trying again (EX_TEMPFAIL)

int run_relay(const Config& config, bool until_caught_up);
int run_check(const Config& config);
int run_status(const Config& config, bool json);

struct TailOptions {
  std::optional<std::string> from;  // "start", or a position as text; nothing: from now
  bool until_end = false;           // stop at what is the end now
  bool json = false;                // one JSON object a line
};
int run_tail(const Config& config, const TailOptions& options);

int run_replay(const Config& config, const ReplayOptions& options);

struct ApplyOptions {
  std::vector<std::string> only;  // read models by name; empty: all
  bool until_caught_up = false;
};
int run_apply(const Config& config, const ApplyOptions& options);
// `decision` is "retry" or "skip". `readmodel` may be NAME/rebuild: a rebuild can be stopped, too.
// With `ordinal` refused where the stop is another one.
int run_apply_decision(const Config& config, const std::string& readmodel,
                       const std::string& decision, std::optional<std::uint64_t> ordinal);
// The same about parked transactions: the one that begins with `ordinal`, or every one (retry
// only).
int run_parked_decision(const Config& config, const std::string& readmodel,
                        const std::string& decision, std::optional<std::uint64_t> ordinal);

struct BackfillOptions {
  std::string table;  // schema.table; for status: only this one, empty: all
  std::optional<std::string> where;
  bool replace = false;
  int workers = 1;
  std::optional<int> rows_per_second;
  bool follow = false;  // show progress until it has ended
  bool json = false;
};
int run_backfill_start(const Config& config, const BackfillOptions& options);
int run_backfill_status(const Config& config, const BackfillOptions& options);
// `decision` is "pause", "resume" or "cancel".
int run_backfill_decision(const Config& config, const BackfillOptions& options,
                          const std::string& decision);

struct RepairCommand {
  bool dry_run = false;
  std::optional<std::uint64_t> void_after;
  bool void_more = false;
  bool resend = false;
  bool json = false;
};
int run_repair(const Config& config, const RepairCommand& command);

int run_rebuild(const Config& config, const std::string& readmodel);

// Makes the target tables that the read model's replicas lack, or prints how.
int run_replica_create(const Config& config, const std::string& readmodel, bool print_only);

struct VerifyOptions {
  std::string readmodel;  // for verify NAME
  int timeout_seconds = 30;
  std::size_t limit = 100;  // findings to list
  bool json = false;
};
inline constexpr int kExitCouldNotSay = 2;  // neither equal nor different: not compared
int run_verify_readmodel(const Config& config, const VerifyOptions& options);
int run_verify_stream(const Config& config, const VerifyOptions& options);

// Throws kConfiguration, with the names that there are.
[[nodiscard]] const ReadModelConfig& find_readmodel(const Config& config, const std::string& name);
[[nodiscard]] Projections projections_of(const ReadModelConfig& config);

enum class DevCommand { kUp, kDown, kStatus };
// Needs no configuration: it writes one. `remove` deletes the data on the way down.
int run_dev(DevCommand command, const std::string& folder, bool remove);

}  // namespace postrider
