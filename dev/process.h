// Child processes of dev and of the tests. Not thread-safe against other code that calls waitpid on
// the same pids. Errors are std::system_error or std::runtime_error with the reason.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace postrider::dev {

using std::chrono::milliseconds;

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
};

// Whom a server that refuses root is run as: nothing when we are not root.
[[nodiscard]] std::optional<User> unprivileged_user();

struct Program {
  std::vector<std::string> command;  // command[0] is looked up in PATH
  std::filesystem::path log;         // stdout and stderr are appended there; empty: inherited
  std::optional<User> user;
  std::vector<std::string> environment;  // NAME=value, added to ours
  bool die_with_parent = false;          // SIGKILL when the starting thread ends
};

// Starts it in a session of its own. Throws when the program cannot be executed.
[[nodiscard]] pid_t start(const Program& program);

// Runs it to the end and returns its exit status, 128 + n for signal n.
int run(const Program& program);

// False for processes that ended, reaped or not.
[[nodiscard]] bool alive(pid_t pid);

// Waits without polling, also for processes that are not our children; reaps those that are.
// False when it still runs after `limit`.
[[nodiscard]] bool wait_for_end(pid_t pid, milliseconds limit);

// As a shell would report it; only for children, after wait_for_end. Nothing for others.
[[nodiscard]] std::optional<int> exit_status(pid_t pid);

// Whether this process runs with `text` in its command line: a pid in a file may have been reused.
[[nodiscard]] bool runs_with(pid_t pid, const std::string& text);

// Processes that it started and that still run.
[[nodiscard]] std::vector<pid_t> children(pid_t pid);

// A build with a sanitizer is slower than the program that promises were made for. Deadlines of
// tests are this many times longer in one: those of wait_until and wait_for_end by themselves.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
inline constexpr int kSlowness = 4;
#else
inline constexpr bool kSanitized = false;
inline constexpr int kSlowness = 1;
#endif

// Calls `condition` until it is true; false after `limit`. For conditions that give no event.
template <typename Condition>
[[nodiscard]] bool wait_until(Condition&& condition, milliseconds limit);

void pause_between_polls();

template <typename Condition>
bool wait_until(Condition&& condition, milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit * kSlowness;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    pause_between_polls();
  }
  return true;
}

}  // namespace postrider::dev
