// Cuts the power of nats-server and of PostgreSQL, over and over, under a relay with the released
// settings, and counts what the broker had acknowledged and then forgot. At the end of each run
// the whole stream is compared with what test_decoding says was committed. scripts/power-loss.
#include <fstream>
#include <iostream>
#include <sstream>

#include "tests/faults/power/power_world.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;
constexpr int kDurableEventsLost = 25;

struct Arguments {
  std::uint64_t seed = 1;
  std::size_t runs = 1;
  std::size_t rounds = 6;
  std::uint64_t events = 60'000;
  std::string report;
  std::string cuts = "broker,with-relay,source,host";
  bool contrast = false;  // confirm = "acked" on a broker that syncs lazily: it must lose, and halt
  PowerOptions world = {.images = "/tmp",
                        .commit_interval = std::chrono::seconds{5},
                        .confirm = "synced",
                        .sync_interval = {},
                        .seed = 0};
};

constexpr const char* kUsage =
    "power_loss [--seed N] [--runs N] [--rounds N] [--events N] [--cuts A,B,...] [--contrast]\n"
    "           [--images FOLDER] [--commit-interval SECONDS] [--report FILE]\n"
    "cuts: broker, with-relay, synced, confirmed, idle-broker, source, host\n";

Arguments parse(const std::vector<std::string>& words) {
  Arguments arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    if (word == "--contrast") {
      arguments.contrast = true;
      arguments.cuts = "confirmed";
      arguments.rounds = 1;
      continue;
    }
    if (i + 1 == words.size()) throw std::invalid_argument(kUsage);
    const auto& value = words[++i];
    if (word == "--seed")
      arguments.seed = std::stoull(value);
    else if (word == "--runs")
      arguments.runs = std::stoul(value);
    else if (word == "--rounds")
      arguments.rounds = std::stoul(value);
    else if (word == "--events")
      arguments.events = std::stoull(value);
    else if (word == "--cuts")
      arguments.cuts = value;
    else if (word == "--images")
      arguments.world.images = value;
    else if (word == "--commit-interval")
      arguments.world.commit_interval = std::chrono::seconds{std::stol(value)};
    else if (word == "--report")
      arguments.report = value;
    else
      throw std::invalid_argument(kUsage);
  }
  return arguments;
}

std::vector<Cut> cuts_of(const std::string& text) {
  std::vector<Cut> cuts;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) cuts.push_back(cut_named(word));
  if (cuts.empty()) throw std::invalid_argument(kUsage);
  return cuts;
}

std::string first_line_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  char line[256] = {};
  if (pipe != nullptr && std::fgets(line, sizeof line, pipe) == nullptr) line[0] = 0;
  if (pipe != nullptr) ::pclose(pipe);
  std::string text(line);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// What the server does when its configuration does not say: 60 s, which could not be changed,
// until 2.9, and 2 min since.
std::chrono::seconds default_sync_interval(const std::string& version) {
  return std::chrono::seconds{version.find(" v2.9.") != std::string::npos ? 60 : 120};
}

Json json_of(const Round& round, const Outcome& outcome) {
  Json json = {{"cut", name_of(round.cut)},
               {"events", round.events},
               {"synchronous_commit", round.synchronous},
               {"acknowledged", outcome.acknowledged},
               {"confirmed", outcome.confirmed},
               {"kept", outcome.kept},
               {"destroyed", outcome.destroyed()},
               {"lost", outcome.lost()},
               {"vanished_transactions", outcome.vanished.transactions},
               {"vanished_events", outcome.vanished.events},
               {"back_seconds", outcome.back_seconds}};
  if (outcome.relay_ended) json["relay_ended"] = *outcome.relay_ended;
  return json;
}

Json json_of(const Verdict& verdict) {
  return {{"expected", verdict.expected},
          {"in_stream", verdict.in_stream},
          {"missing", verdict.lost},
          {"duplicated", verdict.duplicated},
          {"out_of_order", verdict.out_of_order},
          {"foreign", verdict.foreign},
          {"malformed", verdict.malformed},
          {"altered", verdict.altered},
          {"first_problem", verdict.first_problem}};
}

// What happened is not what this run must show; empty when it is.
std::string wrong(const Arguments& arguments, const Round& round, const Outcome& outcome) {
  if (round.synchronous && outcome.vanished.transactions > 0)
    return "PostgreSQL lost commits that it had flushed: the volume does not keep what is synced";
  if (arguments.contrast)
    return outcome.relay_ended == kDurableEventsLost && outcome.lost() > 0
               ? ""
               : "the broker lost nothing that was confirmed, or the relay did not halt with 25";
  if (outcome.relay_ended) return "the relay ended with " + std::to_string(*outcome.relay_ended);
  return outcome.lost() > 0 ? "confirmed messages were destroyed" : "";
}

struct Totals {
  std::uint64_t rounds = 0;
  std::uint64_t destroyed = 0;
  std::uint64_t lost = 0;
  std::uint64_t vanished = 0;
  std::uint64_t expected = 0;
  std::uint64_t bad = 0;  // missing, duplicated, out of order, foreign, malformed, altered
};

// False when it did not show what it must.
bool run(const Arguments& arguments, std::uint64_t seed, Json& report, Totals& totals) {
  auto options = arguments.world;
  options.seed = seed;
  if (arguments.contrast) options.confirm = "acked";
  const auto rounds = schedule(seed, cuts_of(arguments.cuts), arguments.rounds, arguments.events);
  report = {{"seed", seed}, {"rounds", Json::array()}};
  PowerWorld world(options);
  for (const auto& round : rounds) {
    const auto outcome = world.play(round);
    report["rounds"].push_back(json_of(round, outcome));
    ++totals.rounds;
    totals.destroyed += outcome.destroyed();
    totals.lost += outcome.lost();
    totals.vanished += outcome.vanished.transactions;
    std::cout << "seed " << seed << "  " << name_of(round.cut)
              << (round.synchronous ? "" : ", asynchronous commits") << ": acknowledged "
              << outcome.acknowledged << ", confirmed " << outcome.confirmed << ", destroyed "
              << outcome.destroyed() << ", back after " << outcome.back_seconds << " s";
    if (outcome.vanished.transactions > 0)
      std::cout << ", vanished from the source " << outcome.vanished.transactions
                << " transactions of " << outcome.vanished.events << " events";
    if (outcome.relay_ended)
      std::cout << ", the relay ended with " << *outcome.relay_ended << ", lost " << outcome.lost();
    std::cout << std::endl;
    if (const auto problem = wrong(arguments, round, outcome); !problem.empty()) {
      report["problem"] = problem;
      std::cout << "FAILED: " << problem << '\n' << world.relay_log() << std::endl;
      return false;
    }
    if (outcome.relay_ended) return true;  // as the contrast must
  }
  const auto verdict = world.judge();
  report["verdict"] = json_of(verdict);
  totals.expected += verdict.expected;
  totals.bad += verdict.lost + verdict.duplicated + verdict.out_of_order + verdict.foreign +
                verdict.malformed + verdict.altered;
  std::cout << "seed " << seed << "  " << verdict << std::endl;
  return verdict.good();
}

int power_loss(const Arguments& arguments) {
  const auto nats = first_line_of(dev::nats_program() + " --version");
  const auto postgres = first_line_of((dev::postgres_programs() / "postgres").string() + " -V");
  auto used = arguments;
  used.world.sync_interval = default_sync_interval(nats);
  Json report = {{"nats_server", nats},
                 {"postgresql", postgres},
                 {"broker_sync_seconds", used.world.sync_interval.count()},
                 {"confirm", used.contrast ? "acked" : used.world.confirm},
                 {"ext4_commit_seconds", used.world.commit_interval.count()},
                 {"runs", Json::array()}};
  std::cout << nats << ", " << postgres << ", broker_sync_interval "
            << used.world.sync_interval.count() << " s"
            << ", ext4 commit every " << used.world.commit_interval.count() << " s" << std::endl;
  Totals totals;
  bool good = true;
  for (std::size_t i = 0; i < used.runs && good; ++i) {
    Json one;
    try {
      good = run(used, used.seed + i, one, totals);
    } catch (const std::exception& error) {
      good = false;
      one["problem"] = error.what();
      std::cout << "FAILED: " << error.what() << std::endl;
    }
    report["runs"].push_back(one);
  }
  report["rounds"] = totals.rounds;
  report["destroyed"] = totals.destroyed;
  report["lost"] = totals.lost;
  report["compared"] = totals.expected;
  report["wrong"] = totals.bad;
  report["vanished_transactions"] = totals.vanished;
  report["good"] = good;
  if (!used.report.empty()) std::ofstream(used.report) << report.dump(2) << '\n';
  std::cout << totals.rounds << " power cuts, " << totals.destroyed
            << " acknowledged messages destroyed, " << totals.lost << " of them confirmed; "
            << totals.expected << " events compared at the end, " << totals.bad
            << " missing, doubled or out of place; " << totals.vanished
            << " asynchronous commits gone from the source" << std::endl;
  return good ? 0 : 1;
}

}  // namespace
}  // namespace postrider::test

int main(int argc, char** argv) {
  try {
    return postrider::test::power_loss(postrider::test::parse({argv + 1, argv + argc}));
  } catch (const std::invalid_argument& error) {
    std::cerr << error.what() << '\n';
    return 64;
  } catch (const std::exception& error) {
    std::cerr << "power_loss: " << error.what() << '\n';
    return 1;
  }
}
