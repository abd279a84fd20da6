#include "dev/process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <system_error>

namespace postrider::dev {
namespace {

constexpr int kSignalBase = 128;

// Statuses of children that wait_for_end reaped.
std::mutex reaped_mutex;
std::map<pid_t, int> reaped;

void remember(pid_t pid, int status) {
  const std::lock_guard lock(reaped_mutex);
  reaped[pid] = WIFEXITED(status) ? WEXITSTATUS(status) : kSignalBase + WTERMSIG(status);
}

bool reap(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) != pid) return false;
  remember(pid, status);
  return true;
}

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// Between fork and exec: only async-signal-safe calls. Reports errno through the pipe.
[[noreturn]] void become(const Program& program, std::vector<char*>& argv, std::vector<char*>& envp,
                         int log, int report, pid_t parent) {
  const auto give_up = [report] {
    const int error = errno;
    [[maybe_unused]] const auto ignored = ::write(report, &error, sizeof error);
    ::_exit(kSignalBase - 1);
  };
  ::setsid();
  if (program.die_with_parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kSignalBase - 1);
  }
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  if (log >= 0) {
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
  }
  if (program.user) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(program.user->gid) != 0 ||
        ::setuid(program.user->uid) != 0)
      give_up();
    // Changing the user id clears the wish to die with the parent.
    if (program.die_with_parent) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execvpe(argv[0], argv.data(), envp.data());
  give_up();
  ::_exit(kSignalBase - 1);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

std::optional<User> unprivileged_user() {
  if (::geteuid() != 0) return std::nullopt;
  for (const char* name : {"postgres", "nobody"})
    if (const passwd* entry = ::getpwnam(name))
      return User{entry->pw_uid, entry->pw_gid, entry->pw_name};
  throw std::runtime_error("started as root, and neither user postgres nor user nobody exists");
}

pid_t start(const Program& program) {
  std::vector<std::string> command = program.command;
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text(*entry);
    const auto name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const auto& own : program.environment) replaced = replaced || own.starts_with(name);
    if (!replaced) environment.push_back(text);
  }
  environment.insert(environment.end(), program.environment.begin(), program.environment.end());
  auto argv = pointers(command);
  auto envp = pointers(environment);

  int log = -1;
  if (!program.log.empty()) {
    log = ::open(program.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0) fail("cannot write " + program.log.string());
  }
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) fail("pipe");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0) become(program, argv, envp, log, report[1], parent);
  ::close(report[1]);
  if (log >= 0) ::close(log);
  int error = 0;
  const auto got = ::read(report[0], &error, sizeof error);
  ::close(report[0]);
  if (got == static_cast<ssize_t>(sizeof error)) {
    ::waitpid(pid, nullptr, 0);
    errno = error;
    fail("cannot run " + program.command.front());
  }
  return pid;
}

int run(const Program& program) {
  const pid_t pid = start(program);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) fail("waitpid");
  remember(pid, status);
  return *exit_status(pid);
}

bool alive(pid_t pid) {
  if (reap(pid)) return false;
  if (::kill(pid, 0) != 0 && errno == ESRCH) return false;
  // A zombie that somebody else has to reap has ended as far as we are concerned.
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(stat, line)) return false;
  const auto end = line.rfind(')');
  return end == std::string::npos || line.compare(end, 3, ") Z") != 0;
}

bool wait_for_end(pid_t pid, milliseconds limit) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return !alive(pid);
  pollfd entry{fd, POLLIN, 0};
  const auto deadline = std::chrono::steady_clock::now() + limit * kSlowness;
  int ready = 0;
  do {
    const auto left =
        std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    ready = ::poll(&entry, 1, left > 0 ? static_cast<int>(left) : 0);
  } while (ready < 0 && errno == EINTR);
  ::close(fd);
  if (ready <= 0) return false;
  reap(pid);
  return true;
}

std::optional<int> exit_status(pid_t pid) {
  const std::lock_guard lock(reaped_mutex);
  const auto found = reaped.find(pid);
  if (found == reaped.end()) return std::nullopt;
  return found->second;
}

bool runs_with(pid_t pid, const std::string& text) {
  if (!alive(pid)) return false;
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  const std::string line((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return line.find(text) != std::string::npos;
}

std::vector<pid_t> children(pid_t pid) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t candidate = std::atoi(entry.path().filename().c_str());
    if (candidate <= 0) continue;
    std::ifstream file(entry.path() / "stat");
    std::string line;
    std::getline(file, line);
    const auto end = line.rfind(')');  // the program's name before it may hold anything
    if (end == std::string::npos) continue;
    std::istringstream words(line.substr(end + 1));
    std::string state;
    pid_t parent = 0;
    if (words >> state >> parent && parent == pid && state != "Z") found.push_back(candidate);
  }
  return found;
}

void pause_between_polls() {
  constexpr int kPollMs = 10;
  ::poll(nullptr, 0, kPollMs);
}

}  // namespace postrider::dev
