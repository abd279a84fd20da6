// What goes wrong in a run, and when: written down from the seed before the run begins. A fault
// comes when the stream has grown by so much, never at a time.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace postrider::campaign {

enum class Kind : std::uint8_t {
  kNone,  // a period without a fault: progress is measured all the same
  kRelayKill,
  kRelayTerminate,
  kRelayPause,      // past a takeover, then woken
  kRelayFailpoint,  // dies at a named place, the n-th time it gets there
  kRelayPauseAt,    // the same, but stands still there past a takeover
  kRelayLate,       // what it published is held up in the network until another has taken over
  kRelaySettings,   // started anew with other settings: a new epoch
  kApplierKill,
  kApplierTerminate,
  kApplierPause,
  kApplierFailpoint,
  kApplierPauseAt,
  kApplierSlow,  // its projection takes long
  kSourceKill,   // -9, every process of it
  kSourceRestart,
  kSourceBackendKill,  // -9 of one backend: the server ends all others itself
  kSourceBackends,     // pg_terminate_backend of all clients
  kSourceWalsender,    // pg_terminate_backend of it, several times
  kTargetKill,
  kTargetBackends,
  kTargetLock,  // its tables are locked by somebody else
  kBrokerKill,
  kBrokerRestart,
  kBrokerPause,
  kBrokerForgets,  // its tail that was acknowledged and not yet synced is gone
  kRelaySourceLink,
  kRelayBrokerLink,
  kApplierBrokerLink,
  kApplierTargetLink,
};

// How a link breaks.
enum class Break : std::uint8_t { kCut, kReset, kHold, kHoldUp, kHoldDown, kLoseAnswers, kDelay };

[[nodiscard]] std::string_view name_of(Kind kind);
[[nodiscard]] std::string_view name_of(Break how);
[[nodiscard]] std::vector<Kind> all_kinds();

struct Step {
  std::uint64_t after = 0;  // messages since everything had arrived after the last one
  Kind kind = Kind::kNone;
  Break how = Break::kCut;
  std::uint64_t amount = 0;  // messages, transactions, or passes of the place: what lasts so long
  std::string place;         // of a failpoint
  Kind also = Kind::kNone;   // a process or server that is killed while this one is in force

  // "relay.broker.link hold", with "+ source.kill".
  [[nodiscard]] std::string name() const;
};

struct Plan {
  std::uint64_t seed = 0;
  std::uint64_t events = 0;  // messages that the stream holds at the end, at least

  int writers = 8;
  int keys = 1000;
  std::vector<Step> steps;
};

// `faults` steps, and a third as many periods without a fault among them.
[[nodiscard]] Plan make_plan(std::uint64_t seed, std::size_t faults, std::uint64_t events);

// One line a step.
[[nodiscard]] std::string to_jsonl(const Plan& plan);
// Steps of a file that to_jsonl wrote, perhaps with lines left out. Throws on anything else.
[[nodiscard]] std::vector<Step> steps_from_jsonl(const std::string& text);

}  // namespace postrider::campaign
