#include "tests/simulator/plan.h"

#include <array>
#include <utility>

namespace postrider::sim {
namespace {

using Kind = Action::Kind;

constexpr std::array<const char*, 34> kNames = {
    "run",          "commit",           "write-wal",       "pause",          "kill-relay",
    "stop-relay",   "take-over",        "configure",       "broker-crash",   "broker-elects",
    "broker-syncs", "broker-dies",      "drop-connection", "lose-answers",   "double-answer",
    "swap-answers", "false-duplicates", "refusals",        "stale-reads",    "delete-stream",
    "expire",       "remove-tail",      "postgres-crash",  "postgres-saves", "drop-walsender",
    "destroy",      "back-up",          "restore",         "promote",        "other-system",
    "drop-slot",    "invalidate-slot",  "new-publication", "foreign-publish"};

// What moves the world back, and how often each is chosen.
constexpr std::array<std::pair<Kind, std::uint64_t>, 8> kFates = {{{Kind::kDestroy, 4},
                                                                   {Kind::kRestore, 5},
                                                                   {Kind::kPromote, 8},
                                                                   {Kind::kOtherSystem, 1},
                                                                   {Kind::kDropSlot, 4},
                                                                   {Kind::kInvalidateSlot, 1},
                                                                   {Kind::kNewPublication, 2},
                                                                   {Kind::kForeignPublish, 4}}};

// Faults and how often each is chosen, against each other.
constexpr std::array<std::pair<Kind, std::uint64_t>, 22> kFaults = {
    {{Kind::kKillRelay, 8},       {Kind::kStopRelay, 2},     {Kind::kTakeOver, 8},
     {Kind::kConfigure, 3},       {Kind::kBrokerCrash, 8},   {Kind::kBrokerElects, 6},
     {Kind::kBrokerSyncs, 2},     {Kind::kBrokerDies, 2},    {Kind::kDropConnection, 4},
     {Kind::kLoseAnswers, 4},     {Kind::kDoubleAnswer, 2},  {Kind::kSwapAnswers, 3},
     {Kind::kFalseDuplicates, 3}, {Kind::kRefusals, 2},      {Kind::kStaleReads, 4},
     {Kind::kDeleteStream, 1},    {Kind::kExpire, 2},        {Kind::kRemoveTail, 2},
     {Kind::kPostgresCrash, 5},   {Kind::kPostgresSaves, 4}, {Kind::kDropWalsender, 3},
     {Kind::kPause, 14}}};

Settings make_settings(Random& random, const Settings& before) {
  Settings settings;
  settings.message_id = !random.one_in(4);
  settings.wal_store = before.wal_store || random.one_in(3);
  settings.captures = random.one_in(3);
  settings.cloud_events = random.one_in(6);
  settings.part_bytes = settings.captures && random.one_in(2) ? random.between(40, 200) : 0;
  return settings;
}

template <std::size_t Size>
Kind choose(const std::array<std::pair<Kind, std::uint64_t>, Size>& kinds, Random& random) {
  std::uint64_t total = 0;
  for (const auto& [kind, weight] : kinds) total += weight;
  std::uint64_t chosen = random.below(total);
  for (const auto& [kind, weight] : kinds) {
    if (chosen < weight) return kind;
    chosen -= weight;
  }
  return kinds.back().first;
}

Action make_fault(Random& random) {
  Action action;
  action.kind = choose(kFaults, random);
  action.a = random.below(2);
  action.b = random.below(2);
  if (action.kind == Kind::kPause)
    action.a = random.one_in(2) ? random.between(1, 400) : random.between(400, 6000);
  if (action.kind == Kind::kStaleReads || action.kind == Kind::kLoseAnswers ||
      action.kind == Kind::kFalseDuplicates || action.kind == Kind::kRefusals)
    action.a = random.between(1, 4);
  return action;
}

// One fate somewhere in the plan.
void add_fate(std::vector<Action>& actions, Random& random) {
  const auto insert = [&](std::size_t from, const Action& action) {
    const std::size_t at = from + random.below(actions.size() - from);
    actions.insert(actions.begin() + static_cast<std::ptrdiff_t>(at), action);
    return at;
  };
  const Action fate{choose(kFates, random), random.below(3), random.below(2), 0};
  const std::size_t from =
      fate.kind == Kind::kRestore ? insert(0, {Kind::kBackUp, 0, 0, 0}) + 1 : 0;
  insert(from, fate);
}

Action make_ordinary(Random& random) {
  const auto kind = random.below(16);
  if (kind < 5) return {Kind::kCommit, random.between(1, 6), random.between(1, 5), 0};
  if (kind == 5)
    return {Kind::kWriteWal, random.one_in(3) ? 20'000'000 : random.between(1, 200'000), 0, 0};
  // Mostly one relay alone: then the other is paused.
  const std::uint64_t relays = random.one_in(3) ? 3 : random.between(1, 2);
  const std::uint64_t steps = random.one_in(5) ? random.between(100, 400) : random.between(5, 80);
  return {Kind::kRun, relays, steps, 0};
}

}  // namespace

bool Action::is_fault() const {
  return kind != Kind::kRun && kind != Kind::kCommit && kind != Kind::kWriteWal;
}

std::string Action::to_string() const {
  std::string text = kNames[static_cast<std::size_t>(kind)];
  return text + " " + std::to_string(a) + " " + std::to_string(b);
}

Plan make_plan(std::uint64_t seed) {
  Random random(seed);
  Plan plan;
  plan.settings = make_settings(random, {});
  plan.window = random.one_in(3) ? 1 + random.below(4) : 64;
  constexpr std::array<std::uint64_t, 4> kTicks = {1, 5, 20, 60};
  plan.tick_ms = kTicks[random.below(kTicks.size())];
  plan.duplicates_first = random.one_in(2);
  plan.duplicate_window = std::chrono::milliseconds(random.one_in(3) ? 20'000 : 300);
  const std::uint64_t fault_in = random.between(2, 6);
  const std::uint64_t count = random.between(8, 36);
  const bool fated = random.one_in(4);
  plan.actions.push_back({Kind::kCommit, random.below(6), 4, 0});
  plan.actions.push_back({Kind::kRun, 1, random.between(1, 150), 0});
  for (std::uint64_t i = 0; i < count; ++i)
    plan.actions.push_back(random.one_in(fault_in) ? make_fault(random) : make_ordinary(random));
  if (fated) add_fate(plan.actions, random);
  for (auto& action : plan.actions) action.seed = random.next();
  plan.appliers = random.one_in(2);
  plan.applier_seed = random.next();
  plan.batch_events = random.between(1, 10);
  plan.batch_bytes = random.one_in(2) ? random.between(100, 2000) : 1'000'000;
  plan.fast_ingest = random.one_in(2);
  return plan;
}

}  // namespace postrider::sim
