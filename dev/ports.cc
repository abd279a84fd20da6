#include "dev/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>

namespace postrider::dev {
namespace {

int new_socket(int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw std::runtime_error("no socket");
  return fd;
}

// Takes the port's name in the kernel's table of abstract sockets, and keeps it open until the
// process ends, however it does: a claim needs no file that somebody would have to tidy up.
bool claim(int port) {
  const std::string name = "postrider-port-" + std::to_string(port);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());  // the zero before it: abstract
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const int fd = new_socket(AF_UNIX);
  const bool ours = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0;
  if (!ours) ::close(fd);
  return ours;
}

bool nobody_listens(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  const int fd = new_socket(AF_INET);
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return bound;
}

}  // namespace

std::uint16_t free_port() {
  constexpr int kLowest = 15000;
  constexpr int kHighest = 31999;
  constexpr int kAttempts = 200;
  std::random_device device;
  std::uniform_int_distribution<int> pick(kLowest, kHighest);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int port = pick(device);
    if (claim(port) && nobody_listens(port)) return static_cast<std::uint16_t>(port);
  }
  throw std::runtime_error("no free loopback port found between 15000 and 31999");
}

}  // namespace postrider::dev
