// What a run will do, written down before it begins: a function of its seed and nothing else.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace postrider::test {

// Whose power is cut, and in which situation.
enum class Cut {
  kBroker,      // the relay lives on and comes back by itself
  kWithRelay,   // the broker, and the relay is killed with it
  kSynced,      // the broker, soon after it synced by its timer
  kConfirmed,   // the broker, after part of what it holds was confirmed to PostgreSQL
  kIdleBroker,  // the broker, after it was restarted, idle, and all it holds was confirmed
  kSource,      // PostgreSQL
  kHost,        // both servers and the relay at once
};

[[nodiscard]] const char* name_of(Cut cut);
// Throws std::invalid_argument for a name that is none.
[[nodiscard]] Cut cut_named(const std::string& name);

struct Round {
  Cut cut = Cut::kBroker;
  std::uint64_t events = 0;                 // acknowledged in this round before the cut
  bool synchronous = true;                  // synchronous_commit of the source's writers
  std::chrono::milliseconds after_sync{0};  // of kSynced
  bool restart_with_kill = false;           // of the idle broker: SIGKILL, else SIGTERM
};

// One of each kind of `cuts` first, in that order, then at random; `events` is the mean of a round.
[[nodiscard]] std::vector<Round> schedule(std::uint64_t seed, const std::vector<Cut>& cuts,
                                          std::size_t rounds, std::uint64_t events);

}  // namespace postrider::test
