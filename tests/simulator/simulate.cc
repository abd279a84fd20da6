// Runs the simulator: docs/architecture.md, "Simulator".
//
//   simulate --seed N [--keep I,J,...] [--trace]   one run, or the part of it with these actions
//   simulate --seeds A..B                          both inclusive
//   simulate --seconds S [--from N]                as many as fit, from a seed that the time
//   chooses
//   ... --as-it-is                                 a failing run is not made shorter
//
// A run that fails is made shorter, and printed with the command that repeats it. Exits 1 then.
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulator/plan.h"
#include "tests/simulator/shrink.h"
#include "tests/simulator/world.h"

namespace {

using namespace postrider::sim;

struct Arguments {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<double> seconds;
  std::optional<std::vector<std::size_t>> keep;
  bool trace = false;
  bool as_it_is = false;
};

// The relay's clock is the world's: this one is the machine's.
double machine_seconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

[[noreturn]] void usage() {
  std::fputs(
      "simulate --seed N [--keep I,J,...] [--trace] | --seeds A..B | --seconds S [--from N]\n",
      stderr);
  std::exit(2);
}

std::vector<std::size_t> parse_list(const char* text) {
  std::vector<std::size_t> list;
  while (*text != '\0') {
    char* end = nullptr;
    list.push_back(std::strtoull(text, &end, 10));
    if (end == text) usage();
    text = *end == ',' ? end + 1 : end;
  }
  return list;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  bool ranged = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--trace") {
      arguments.trace = true;
      continue;
    }
    if (name == "--as-it-is") {
      arguments.as_it_is = true;
      continue;
    }
    ++i;
    if (name == "--seed") {
      arguments.first = arguments.last = std::strtoull(value, nullptr, 10);
    } else if (name == "--seeds") {
      char* end = nullptr;
      arguments.first = std::strtoull(value, &end, 10);
      if (std::string_view(end).substr(0, 2) != "..") usage();
      arguments.last = std::strtoull(end + 2, nullptr, 10);
    } else if (name == "--seconds") {
      arguments.seconds = std::strtod(value, nullptr);
    } else if (name == "--from") {
      arguments.first = std::strtoull(value, nullptr, 10);
    } else if (name == "--keep") {
      arguments.keep = parse_list(value);
      continue;
    } else {
      usage();
    }
    ranged = true;
  }
  if (!ranged) usage();
  if (arguments.seconds) {
    // Far from the fixed seeds, and written out by what it prints.
    if (arguments.first == 0)
      arguments.first = static_cast<std::uint64_t>(std::time(nullptr)) * 1'000'000;
    arguments.last = ~0ULL;
  }
  return arguments;
}

Outcome run(const Plan& plan, const std::vector<std::size_t>& kept, bool trace) {
  World world(plan);
  world.trace = trace;
  return world.run(kept);
}

std::vector<std::size_t> all_of(const Plan& plan) {
  std::vector<std::size_t> all(plan.actions.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

void report(std::uint64_t seed, const Plan& plan) {
  std::fflush(stdout);
  const auto kept = shrink(all_of(plan), [&](const std::vector<std::size_t>& part) {
    return !run(plan, part, false).failure.empty();
  });
  std::printf("%zu of its %zu actions are enough:\n", kept.size(), plan.actions.size());
  const auto outcome = run(plan, kept, true);
  std::printf("then: %s\nto repeat it:  simulate --seed %llu --trace --keep ",
              outcome.failure.c_str(), static_cast<unsigned long long>(seed));
  for (std::size_t i = 0; i < kept.size(); ++i) std::printf("%s%zu", i == 0 ? "" : ",", kept[i]);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  spdlog::set_level(spdlog::level::off);
  const double start = machine_seconds();
  std::uint64_t runs = 0;
  std::uint64_t halts = 0;
  Outcome sum;
  for (std::uint64_t seed = arguments.first; seed <= arguments.last; ++seed) {
    if (arguments.seconds && machine_seconds() - start > *arguments.seconds) break;
    const Plan plan = make_plan(seed);
    const auto outcome = run(plan, arguments.keep.value_or(all_of(plan)), arguments.trace);
    if (!outcome.failure.empty()) {
      std::printf("seed %llu fails, run %llu, after %.1f s: %s\n",
                  static_cast<unsigned long long>(seed), static_cast<unsigned long long>(runs + 1),
                  machine_seconds() - start, outcome.failure.c_str());
      if (!arguments.keep && !arguments.as_it_is) report(seed, plan);
      return 1;
    }
    ++runs;
    halts += outcome.halted ? 1 : 0;
    sum.messages += outcome.messages;
    sum.sessions += outcome.sessions;
    sum.faults += outcome.faults;
    sum.lost += outcome.lost;
    sum.applied += outcome.applied;
  }
  const double took = machine_seconds() - start;
  std::printf(
      "%llu runs from seed %llu on: %llu messages, %llu faults, %llu sessions, %llu stored "
      "messages lost by the broker and published again, %llu due halts, %llu messages applied; "
      "%.1f s, %.0f runs/s\n",
      static_cast<unsigned long long>(runs), static_cast<unsigned long long>(arguments.first),
      static_cast<unsigned long long>(sum.messages), static_cast<unsigned long long>(sum.faults),
      static_cast<unsigned long long>(sum.sessions), static_cast<unsigned long long>(sum.lost),
      static_cast<unsigned long long>(halts), static_cast<unsigned long long>(sum.applied), took,
      static_cast<double>(runs) / took);
  return 0;
}
