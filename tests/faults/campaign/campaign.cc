// The fault campaign: real servers, real relays and appliers, and everything going wrong by plan.
//
//   campaign [--seed S] [--faults N] [--events M] [--rounds R] [--folder F] [--schedule FILE]
//   [--keep]
//
// Exits with 0 when nothing was lost, doubled, torn, out of order or worse; with 1 when something
// was: then the folder stays, with everything in it. Without --folder it is a new one in /tmp.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <sstream>

#include "tests/faults/campaign/random.h"
#include "tests/faults/campaign/round.h"

namespace postrider::campaign {
namespace {

struct Arguments {
  std::uint64_t seed = 0;
  std::size_t faults = 25;
  std::uint64_t events = 100'000;
  std::uint64_t rounds = 1;
  std::filesystem::path folder;
  std::string schedule;
  bool temporary = false;  // the folder is of our choice
  bool keep = false;
  std::string revision = "unknown";
};

int usage(const std::string& problem) {
  std::cerr << problem << "\nusage: campaign [--seed S] [--faults N] [--events M] [--rounds R] "
            << "[--folder F] [--schedule FILE] [--revision R] [--keep]\n"
            << "  N faults and M messages in all, shared out to R rounds, each a fresh world\n";
  return 64;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int run(const Arguments& arguments) {
  Report report;
  report.seed = arguments.seed;
  report.revision = arguments.revision;
  report.command = "scripts/campaign --seed " + std::to_string(arguments.seed) + " --faults " +
                   std::to_string(arguments.faults) + " --events " +
                   std::to_string(arguments.events) + " --rounds " +
                   std::to_string(arguments.rounds);
  std::filesystem::create_directories(arguments.folder);
  std::cout << report.command << std::endl;
  for (std::uint64_t round = 1; round <= arguments.rounds; ++round) {
    const auto seed = derive(arguments.seed, "round " + std::to_string(round));
    auto plan =
        make_plan(seed, arguments.faults / arguments.rounds, arguments.events / arguments.rounds);
    if (!arguments.schedule.empty()) plan.steps = steps_from_jsonl(text_of(arguments.schedule));
    const auto folder = arguments.folder / ("round-" + std::to_string(round));
    if (std::filesystem::exists(folder))
      throw std::runtime_error(folder.string() + " exists: choose another folder");
    const auto found = run_round(plan, folder);
    report.postgres = found.postgres;
    report.broker = found.broker;
    report.add(found);
    write_report(report, arguments.folder);
    std::cout << "round " << round << ": " << found.faults() << " faults, " << found.stream.events
              << " events in " << static_cast<int>(found.seconds) << " s, "
              << (found.good() ? "nothing wrong" : "FAILED") << std::endl;
    if (!found.good()) break;
    if (arguments.keep) continue;
    // The servers' data; schedule, logs and what was done stay.
    for (const auto* data : {"postgres", "target", "nats", "socket", "target-socket"})
      std::filesystem::remove_all(folder / data);
  }
  std::cout << text_of((arguments.folder / "report.md").string());
  if (report.good()) {
    if (arguments.temporary && !arguments.keep) std::filesystem::remove_all(arguments.folder);
    return 0;
  }
  std::cout << "\nThe folder stays: " << arguments.folder.string() << "\nrepeat: " << report.command
            << '\n';
  return 1;
}

}  // namespace
}  // namespace postrider::campaign

int main(int argc, char** argv) {
  using postrider::campaign::usage;
  postrider::campaign::Arguments arguments;
  std::random_device entropy;
  arguments.seed = static_cast<std::uint64_t>(entropy()) << 32U | entropy();
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--keep") {
      arguments.keep = true;
      continue;
    }
    if (i + 1 == argc) return usage(name + " needs a value");
    const std::string value = argv[++i];
    char* end = nullptr;
    const auto number = std::strtoull(value.c_str(), &end, 10);
    const bool is_number = *end == '\0' && !value.empty();
    if (name == "--folder")
      arguments.folder = value;
    else if (name == "--schedule")
      arguments.schedule = value;
    else if (name == "--revision")
      arguments.revision = value;
    else if (!is_number)
      return usage("no such option, or no number: " + name + " " + value);
    else if (name == "--seed")
      arguments.seed = number;
    else if (name == "--faults")
      arguments.faults = number;
    else if (name == "--events")
      arguments.events = number;
    else if (name == "--rounds")
      arguments.rounds = number;
    else
      return usage("no such option: " + name);
  }
  try {
    if (arguments.folder.empty()) {
      std::string made = "/tmp/postrider-campaign.XXXXXX";
      if (::mkdtemp(made.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
      std::filesystem::permissions(made, std::filesystem::perms(0711));
      arguments.folder = made;
      arguments.temporary = true;
    }
    return postrider::campaign::run(arguments);
  } catch (const std::exception& error) {
    std::cerr << "campaign: " << error.what() << '\n';
    return 1;
  }
}
