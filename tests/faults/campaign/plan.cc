#include "tests/faults/campaign/plan.h"

#include <array>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "tests/faults/campaign/random.h"

namespace postrider::campaign {
namespace {

struct KindName {
  Kind kind;
  std::string_view name;
  unsigned weight;
};

constexpr std::array kKinds{
    KindName{Kind::kNone, "none", 0},
    KindName{Kind::kRelayKill, "relay.kill", 8},
    KindName{Kind::kRelayTerminate, "relay.terminate", 4},
    KindName{Kind::kRelayPause, "relay.pause", 5},
    KindName{Kind::kRelayFailpoint, "relay.failpoint", 12},
    KindName{Kind::kRelayPauseAt, "relay.pause_at", 5},
    KindName{Kind::kRelayLate, "relay.late", 7},
    KindName{Kind::kRelaySettings, "relay.settings", 5},
    KindName{Kind::kApplierKill, "applier.kill", 6},
    KindName{Kind::kApplierTerminate, "applier.terminate", 3},
    KindName{Kind::kApplierPause, "applier.pause", 5},
    KindName{Kind::kApplierFailpoint, "applier.failpoint", 8},
    KindName{Kind::kApplierPauseAt, "applier.pause_at", 5},
    KindName{Kind::kApplierSlow, "applier.slow", 2},
    KindName{Kind::kSourceKill, "source.kill", 5},
    KindName{Kind::kSourceRestart, "source.restart", 3},
    KindName{Kind::kSourceBackendKill, "source.backend_kill", 3},
    KindName{Kind::kSourceBackends, "source.backends", 3},
    KindName{Kind::kSourceWalsender, "source.walsender", 5},
    KindName{Kind::kTargetKill, "target.kill", 5},
    KindName{Kind::kTargetBackends, "target.backends", 3},
    KindName{Kind::kTargetLock, "target.lock", 3},
    KindName{Kind::kBrokerKill, "broker.kill", 6},
    KindName{Kind::kBrokerRestart, "broker.restart", 3},
    KindName{Kind::kBrokerPause, "broker.pause", 3},
    KindName{Kind::kBrokerForgets, "broker.forgets", 8},
    KindName{Kind::kRelaySourceLink, "relay.source.link", 8},
    KindName{Kind::kRelayBrokerLink, "relay.broker.link", 12},
    KindName{Kind::kApplierBrokerLink, "applier.broker.link", 6},
    KindName{Kind::kApplierTargetLink, "applier.target.link", 8},
};

constexpr std::array kBreaks{
    std::pair{Break::kCut, std::string_view("cut")},
    std::pair{Break::kReset, std::string_view("reset")},
    std::pair{Break::kHold, std::string_view("hold")},
    std::pair{Break::kHoldUp, std::string_view("hold_up")},
    std::pair{Break::kHoldDown, std::string_view("hold_down")},
    std::pair{Break::kLoseAnswers, std::string_view("lose_answers")},
    std::pair{Break::kDelay, std::string_view("delay")},
};

// Where a relay may die, and how often it passes there in a second or two of load.
struct Place {
  const char* name;
  std::uint64_t most;
};
constexpr std::array kRelayPlaces{
    Place{"session.before_open", 1},        Place{"session.after_open", 1},
    Place{"session.before_read_mark", 1},   Place{"session.after_read_mark", 1},
    Place{"publish.before_send", 3000},     Place{"publish.after_send", 3000},
    Place{"publish.after_flush", 100},      Place{"publish.mid_transaction", 2000},
    Place{"ack.before_handle", 2000},       Place{"ack.after_handle", 2000},
    Place{"confirm.before_proof", 2},       Place{"confirm.before_checkpoint", 2},
    Place{"confirm.after_checkpoint", 2},   Place{"confirm.before_status", 2},
    Place{"confirm.after_status", 2},
};
constexpr std::array kApplierPlaces{
    Place{"apply.before_begin", 12},
    Place{"apply.after_cursor", 12},
    Place{"apply.before_commit", 12},
    Place{"apply.after_commit", 12},
};

bool is_link(Kind kind) {
  return kind == Kind::kRelaySourceLink || kind == Kind::kRelayBrokerLink ||
         kind == Kind::kApplierBrokerLink || kind == Kind::kApplierTargetLink;
}

Kind pick_kind(Random& random) {
  unsigned all = 0;
  for (const auto& entry : kKinds) all += entry.weight;
  auto left = random.below(all);
  for (const auto& entry : kKinds) {
    if (left < entry.weight) return entry.kind;
    left -= entry.weight;
  }
  return Kind::kNone;
}

// What may die while something else is broken already. Not the source while the broker has
// forgotten a tail: PostgreSQL's own recovery could outlast the time for which it is not confirmed.
Kind pick_second(Random& random, Kind first) {
  constexpr std::array kSeconds{Kind::kRelayKill,  Kind::kApplierKill, Kind::kSourceKill,
                                Kind::kTargetKill, Kind::kBrokerKill,  Kind::kSourceWalsender};
  const auto second = kSeconds[random.below(kSeconds.size())];
  return first == Kind::kBrokerForgets ? Kind::kNone : second;
}

template <std::size_t N>
void pick_place(Random& random, const std::array<Place, N>& places, Step& step) {
  const auto& place = places[random.below(N)];
  step.place = place.name;
  step.amount = random.between(1, place.most);
}

Step make_step(Random& random) {
  Step step;
  step.kind = pick_kind(random);
  step.amount = random.between(500, 12'000);
  if (is_link(step.kind)) step.how = kBreaks[random.below(kBreaks.size())].first;
  if (step.kind == Kind::kRelayFailpoint || step.kind == Kind::kRelayPauseAt)
    pick_place(random, kRelayPlaces, step);
  if (step.kind == Kind::kApplierFailpoint || step.kind == Kind::kApplierPauseAt)
    pick_place(random, kApplierPlaces, step);
  if (random.percent(15)) step.also = pick_second(random, step.kind);
  return step;
}

Kind kind_of(const std::string& name) {
  for (const auto& entry : kKinds)
    if (entry.name == name) return entry.kind;
  throw std::runtime_error("no such fault: " + name);
}

}  // namespace

std::string_view name_of(Kind kind) {
  for (const auto& entry : kKinds)
    if (entry.kind == kind) return entry.name;
  return "?";
}
std::string_view name_of(Break how) {
  for (const auto& [key, name] : kBreaks)
    if (key == how) return name;
  return "?";
}
std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds;
  for (const auto& entry : kKinds)
    if (entry.kind != Kind::kNone) kinds.push_back(entry.kind);
  return kinds;
}

std::string Step::name() const {
  std::string text(name_of(kind));
  if (is_link(kind)) text += " " + std::string(name_of(how));
  if (!place.empty()) text += " " + place;
  if (also != Kind::kNone) text += " + " + std::string(name_of(also));
  return text;
}

Plan make_plan(std::uint64_t seed, std::size_t faults, std::uint64_t events) {
  Plan plan;
  plan.seed = seed;
  plan.events = events;
  Random random(derive(seed, "schedule"));
  for (std::size_t i = 0; i < faults; ++i) {
    plan.steps.push_back(make_step(random));
    if (i % 3 == 2) plan.steps.emplace_back();
  }
  // Faults and what is healed after them take about as much again.
  const auto share = events / (plan.steps.size() + 1);
  for (auto& step : plan.steps) step.after = random.below(share + 1);
  return plan;
}

std::string to_jsonl(const Plan& plan) {
  std::string text;
  for (const auto& step : plan.steps) {
    nlohmann::json line = {
        {"after", step.after}, {"fault", name_of(step.kind)}, {"amount", step.amount}};
    if (is_link(step.kind)) line["how"] = name_of(step.how);
    if (!step.place.empty()) line["place"] = step.place;
    if (step.also != Kind::kNone) line["also"] = name_of(step.also);
    text += line.dump() + "\n";
  }
  return text;
}

std::vector<Step> steps_from_jsonl(const std::string& text) {
  std::vector<Step> steps;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    Step step;
    step.after = json.at("after");
    step.amount = json.at("amount");
    step.kind = kind_of(json.at("fault"));
    if (json.contains("how"))
      for (const auto& [how, name] : kBreaks)
        if (name == json["how"].get<std::string>()) step.how = how;
    step.place = json.value("place", "");
    if (json.contains("also")) step.also = kind_of(json["also"]);
    steps.push_back(step);
  }
  return steps;
}

}  // namespace postrider::campaign
