// The real relay, or another daemon command: the `postrider` program with a configuration file.
// Killed when destroyed. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace postrider::test {

// Path of the program under test: the build's, or $POSTRIDER_PROGRAM.
[[nodiscard]] std::string postrider_program();

// Keys as "section.key" with their TOML text: {"relay.confirm", "\"acked\""}.
using Settings = std::map<std::string, std::string>;

class RelayProcess {
 public:
  // `failpoints` as base/failpoint.h describes; `arguments` after `COMMAND --config FILE`.
  RelayProcess(std::filesystem::path config, std::filesystem::path log,
               const std::string& failpoints = {}, const std::vector<std::string>& arguments = {},
               const std::string& command = "relay");
  ~RelayProcess();
  RelayProcess(const RelayProcess&) = delete;
  RelayProcess& operator=(const RelayProcess&) = delete;

  void kill();       // SIGKILL, and waits
  void pause();      // SIGSTOP, and waits until it is stopped
  void resume();     // SIGCONT
  void terminate();  // SIGTERM; does not wait
  [[nodiscard]] bool running() const;
  [[nodiscard]] bool stopped() const;  // by SIGSTOP
  // Waits for its end; nothing when it still runs after `limit`. 128 + n for signal n.
  [[nodiscard]] std::optional<int> wait(std::chrono::milliseconds limit);

  [[nodiscard]] std::uint64_t resident_kib() const;       // VmRSS
  [[nodiscard]] std::uint64_t peak_resident_kib() const;  // VmHWM
  [[nodiscard]] std::uint64_t cpu_ticks() const;  // user and system, of sysconf(_SC_CLK_TCK)
  // Each thread's name, state and system call: what to look at when it hangs.
  [[nodiscard]] std::string threads() const;
  [[nodiscard]] pid_t pid() const { return pid_; }
  // What this process wrote to its log.
  [[nodiscard]] std::string log() const;

 private:
  pid_t pid_ = 0;
  std::filesystem::path log_;
  std::uintmax_t log_start_ = 0;
};

}  // namespace postrider::test
