#include "dev/nats_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace postrider::dev {
namespace fs = std::filesystem;

std::string nats_program() {
  if (const char* program = std::getenv("POSTRIDER_NATS_SERVER")) return program;
  for (const char* path : {"/usr/sbin/nats-server", "/usr/bin/nats-server",
                           "/usr/local/bin/nats-server", "/usr/local/sbin/nats-server"})
    if (::access(path, X_OK) == 0) return path;
  return "nats-server";
}

void NatsServer::start(milliseconds limit) {
  if (pid()) return;
  fs::create_directories(store());
  write_configuration();
  const auto configuration = options_.folder / "nats.conf";
  const auto log = options_.folder / "nats.log";
  fs::remove(options_.folder / "nats.pid");
  const pid_t child =
      dev::start({{nats_program(), "-c", configuration.string()}, log, std::nullopt, {}, false});
  // The pid file is written last of all, when the server is ready for clients.
  const bool ready = wait_until(
      [&] { return !alive(child) || (fs::exists(options_.folder / "nats.pid") && greets()); },
      limit);
  if (ready && alive(child)) return;
  std::ifstream file(log);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  constexpr std::size_t kLogTail = 2000;
  throw std::runtime_error("nats-server did not start: " +
                           text.substr(text.size() - std::min(text.size(), kLogTail)));
}

void NatsServer::reload(milliseconds limit) {
  const auto running = pid();
  if (!running) throw std::runtime_error("nats-server does not run");
  const auto log = options_.folder / "nats.log";
  const auto before = fs::file_size(log);
  write_configuration();
  ::kill(*running, SIGHUP);
  const auto reloaded = [&] {
    std::ifstream file(log);
    file.seekg(static_cast<std::streamoff>(before));
    return std::string(std::istreambuf_iterator<char>(file), {})
               .find("Reloaded server configuration") != std::string::npos;
  };
  if (!wait_until(reloaded, limit)) throw std::runtime_error("nats-server did not reload");
}

void NatsServer::write_configuration() const {
  const auto configuration = options_.folder / "nats.conf";
  std::ofstream file(configuration, std::ios::trunc);
  file << "listen: \"127.0.0.1:" << options_.port << "\"\n"
       << "pid_file: \"" << (options_.folder / "nats.pid").string() << "\"\n"
       << "jetstream {\n  store_dir: \"" << store().string() << "\"\n";
  for (const auto& line : options_.jetstream_settings) file << "  " << line << '\n';
  file << "}\n";
  for (const auto& line : options_.settings) file << line << '\n';
  if (!file.flush()) throw std::runtime_error("cannot write " + configuration.string());
}

bool NatsServer::greets() const {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const timeval limit{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(options_.port);
  std::array<char, 4096> buffer{};
  ssize_t got = 0;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
    got = ::recv(fd, buffer.data(), buffer.size(), 0);
  ::close(fd);
  return got > 0 && std::string(buffer.data(), static_cast<std::size_t>(got)).find("INFO ") == 0;
}

std::optional<pid_t> NatsServer::pid() const {
  std::ifstream file(options_.folder / "nats.pid");
  pid_t pid = 0;
  if (!(file >> pid) || pid <= 0 || !runs_with(pid, (options_.folder / "nats.conf").string()))
    return std::nullopt;
  return pid;
}

bool NatsServer::stop(bool kill, milliseconds limit) {
  const auto running = pid();
  if (!running) return true;
  ::kill(*running, kill ? SIGKILL : SIGTERM);
  return wait_for_end(*running, limit);
}

std::string NatsServer::url() const {
  return "nats://127.0.0.1:" + std::to_string(options_.port);
}

}  // namespace postrider::dev
