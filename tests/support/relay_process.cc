#include "tests/support/relay_process.h"

#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "dev/process.h"

namespace postrider::test {
namespace {

std::string status_line(pid_t pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name + ":")) return line.substr(name.size() + 1);
  return {};
}

std::uint64_t kib(pid_t pid, const std::string& name) {
  std::istringstream words(status_line(pid, name));
  std::uint64_t value = 0;
  if (!(words >> value)) throw std::runtime_error("the relay has no " + name + ": it has ended");
  return value;
}

}  // namespace

std::string postrider_program() {
  const char* other = std::getenv("POSTRIDER_PROGRAM");
  return other == nullptr ? POSTRIDER_PROGRAM : other;
}

RelayProcess::RelayProcess(std::filesystem::path config, std::filesystem::path log,
                           const std::string& failpoints, const std::vector<std::string>& arguments,
                           const std::string& command)
    : log_(std::move(log)) {
  if (std::filesystem::exists(log_)) log_start_ = std::filesystem::file_size(log_);
  dev::Program program;
  program.command = {postrider_program(), command, "--config", config.string()};
  program.command.insert(program.command.end(), arguments.begin(), arguments.end());
  program.log = log_;
  program.environment = {"POSTRIDER_FAILPOINTS=" + failpoints};
  program.die_with_parent = true;
  pid_ = dev::start(program);
}

RelayProcess::~RelayProcess() {
  if (running()) kill();
}

void RelayProcess::kill() {
  ::kill(pid_, SIGKILL);
  if (!dev::wait_for_end(pid_, dev::milliseconds{10'000}))
    throw std::runtime_error("the relay survived SIGKILL");
}

void RelayProcess::pause() {
  ::kill(pid_, SIGSTOP);
  if (!dev::wait_until([this] { return stopped(); }, dev::milliseconds{5'000}))
    throw std::runtime_error("the relay does not pause");
}

void RelayProcess::resume() {
  ::kill(pid_, SIGCONT);
}
void RelayProcess::terminate() {
  ::kill(pid_, SIGTERM);
}
bool RelayProcess::running() const {
  return dev::alive(pid_);
}

bool RelayProcess::stopped() const {
  return status_line(pid_, "State").find("T (stopped)") != std::string::npos;
}

std::optional<int> RelayProcess::wait(std::chrono::milliseconds limit) {
  if (!dev::wait_for_end(pid_, limit)) return std::nullopt;
  return dev::exit_status(pid_);
}

std::uint64_t RelayProcess::resident_kib() const {
  return kib(pid_, "VmRSS");
}
std::uint64_t RelayProcess::peak_resident_kib() const {
  return kib(pid_, "VmHWM");
}

std::uint64_t RelayProcess::cpu_ticks() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
  std::string text;
  std::getline(file, text);
  // After the name in parentheses: state is field 3, utime and stime are 14 and 15.
  std::istringstream words(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) words >> skipped;
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  words >> user >> system;
  return user + system;
}

std::string RelayProcess::threads() const {
  std::string text;
  std::error_code error;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/task", error)) {
    text += task.path().filename().string();
    for (const char* name : {"comm", "wchan", "syscall", "stat"}) {
      std::ifstream file(task.path() / name);
      std::string line;
      std::getline(file, line);
      text += " " + line;
    }
    text += '\n';
  }
  return text;
}

std::string RelayProcess::log() const {
  std::ifstream file(log_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(log_start_));
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace postrider::test
