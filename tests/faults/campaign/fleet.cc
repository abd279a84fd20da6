#include "tests/faults/campaign/fleet.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

namespace postrider::campaign {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kKilled = 128 + SIGKILL;
constexpr std::uint64_t kMostResidentKib = 256UL * 1024;
constexpr std::uint64_t kMostFiles = 64;
constexpr std::uint64_t kMostThreads = 32;

const char* command_of(Role role) {
  return role == Role::kRelay ? "relay" : "apply";
}

std::size_t entries_of(const std::string& folder) {
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  return error ? 0 : static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

}  // namespace

std::string beyond_limits(Role role, const Resources& peak, bool sanitized) {
  if ((sanitized || peak.resident_kib <= kMostResidentKib) && peak.files <= kMostFiles &&
      peak.threads <= kMostThreads)
    return {};
  return std::string(role == Role::kRelay ? "a relay" : "an applier") + " took " +
         std::to_string(peak.resident_kib) + " KiB, " + std::to_string(peak.files) + " files, " +
         std::to_string(peak.threads) + " threads";
}

std::string unexpected_end(const std::string& name, int status, const std::vector<int>& expected) {
  if (std::find(expected.begin(), expected.end(), status) != expected.end()) return {};
  return name + " ended with " + std::to_string(status);
}

Fleet::Fleet(World& world) : world_(world) {
  const auto ports = world.ports();
  for (const auto role : {Role::kRelay, Role::kApplier})
    for (std::size_t i = 0; i < 2; ++i) {
      auto& member = members(role)[i];
      member.role = role;
      member.name = std::string(command_of(role)) + (i == 0 ? "-a" : "-b");
      member.database = std::make_unique<Link>(role == Role::kRelay ? ports.source : ports.target);
      member.broker = std::make_unique<Link>(ports.broker);
      start(member);
    }
}

Fleet::~Fleet() = default;

Fleet::Member& Fleet::active(Role role) {
  auto& both = members(role);
  std::array<std::uint64_t, 2> moved{};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto bytes = both[i].broker->bytes();
    moved[i] = bytes - both[i].bytes_before;
    both[i].bytes_before = bytes;
  }
  return moved[0] >= moved[1] ? both[0] : both[1];
}

Fleet::Member& Fleet::standby(Role role) {
  auto& both = members(role);
  return &active(role) == &both[0] ? both[1] : both[0];
}

void Fleet::start(Member& member, const std::string& failpoints) {
  auto ports = world_.ports();
  (member.role == Role::kRelay ? ports.source : ports.target) = member.database->port();
  ports.broker = member.broker->port();
  const auto config = world_.write_config(member.name, ports, variant_);
  const std::lock_guard lock(mutex_);
  member.may_exit.clear();
  member.judged = false;
  if (failpoints.find("=kill") != std::string::npos) member.may_exit.push_back(kKilled);
  member.process = std::make_unique<test::RelayProcess>(
      config, world_.folder() / (member.name + ".log"), failpoints, std::vector<std::string>{},
      command_of(member.role));
}

void Fleet::kill(Member& member) {
  member.may_exit.push_back(kKilled);
  member.process->kill();
  judge(member);
}

void Fleet::terminate(Member& member) {
  member.may_exit.push_back(0);
  member.process->terminate();
  if (!member.process->wait(kPatience))
    problems_.push_back(member.name + " does not end on SIGTERM\n" + member.process->threads());
  judge(member);
}

void Fleet::judge(Member& member) {
  const auto status = member.process->wait(kPatience);
  if (!status || member.judged) return;
  member.judged = true;
  ++exits_[std::string(command_of(member.role)) + " " + std::to_string(*status)];
  const auto wrong = unexpected_end(member.name, *status, member.may_exit);
  if (wrong.empty()) return;
  constexpr std::size_t kTail = 3000;
  const auto log = member.process->log();
  problems_.push_back(wrong + ":\n" + log.substr(log.size() - std::min(log.size(), kTail)));
}

void Fleet::revive() {
  for (const auto role : {Role::kRelay, Role::kApplier})
    for (auto& member : members(role)) {
      if (member.process->running()) continue;
      judge(member);
      start(member);
    }
}

void Fleet::stop_all() {
  for (const auto role : {Role::kApplier, Role::kRelay})
    for (auto& member : members(role))
      if (member.process->running())
        terminate(member);
      else
        judge(member);
}

void Fleet::heal_links() {
  for (const auto role : {Role::kRelay, Role::kApplier})
    for (auto& member : members(role)) {
      member.database->heal();
      member.broker->heal();
    }
}

void Fleet::sample() {
  const std::lock_guard lock(mutex_);
  for (const auto role : {Role::kRelay, Role::kApplier})
    for (const auto& member : members(role)) {
      if (!member.process || !member.process->running()) continue;
      const auto folder = "/proc/" + std::to_string(member.process->pid());
      auto& peak = peaks_[role];
      try {
        peak.resident_kib = std::max(peak.resident_kib, member.process->peak_resident_kib());
        peak.files = std::max(peak.files, entries_of(folder + "/fd"));
        peak.threads = std::max(peak.threads, entries_of(folder + "/task"));
      } catch (const std::runtime_error&) {  // it has just ended
      }
    }
}

std::map<Role, Resources> Fleet::peaks() const {
  const std::lock_guard lock(mutex_);
  return peaks_;
}

}  // namespace postrider::campaign
