#include "tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <vector>

namespace postrider::test {
namespace {

struct Pair {
  int client = -1;
  int server = -1;
};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

void close_with_reset(int fd) {
  const linger hard{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  ::close(fd);
}

// Moves what is there; false when the connection ended.
bool forward(int from, int to, bool drop, std::atomic<std::uint64_t>& dropped) {
  std::array<char, 65536> chunk{};
  const auto n = ::recv(from, chunk.data(), chunk.size(), 0);
  if (n <= 0) return false;
  if (drop) {
    dropped += static_cast<std::uint64_t>(n);
    return true;
  }
  ssize_t sent = 0;
  while (sent < n) {
    const auto m =
        ::send(to, chunk.data() + sent, static_cast<std::size_t>(n - sent), MSG_NOSIGNAL);
    if (m <= 0) return false;
    sent += m;
  }
  return true;
}

}  // namespace

TcpProxy::TcpProxy(std::uint16_t target) : target_(target) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_, 16) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("proxy: cannot listen");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

TcpProxy::~TcpProxy() {
  stop_ = true;
  thread_.join();
  ::close(listener_);
}

void TcpProxy::run() {
  constexpr int kTurnMs = 20;
  std::vector<Pair> pairs;
  while (!stop_) {
    std::vector<pollfd> entries{{listener_, POLLIN, 0}};
    for (const auto& pair : pairs) {
      entries.push_back({pair.client, POLLIN, 0});
      entries.push_back({pair.server, POLLIN, 0});
    }
    ::poll(entries.data(), entries.size(), kTurnMs);
    const bool reset = reset_.exchange(false);
    std::vector<Pair> alive;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const auto& [client, server] = pairs[i];
      bool good = !reset;
      if (good && entries[2 * i + 1].revents != 0) good = forward(client, server, false, dropped_);
      if (good && entries[2 * i + 2].revents != 0)
        good = forward(server, client, dropping_, dropped_);
      if (good) {
        alive.push_back(pairs[i]);
      } else {
        close_with_reset(client);
        ::close(server);  // an orderly end: what was sent to the broker still arrives
      }
    }
    pairs.swap(alive);
    if ((entries[0].revents & POLLIN) == 0) continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = loopback(target_);
    if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      pairs.push_back({client, server});
      ++connections_;
    } else {
      ::close(client);
      ::close(server);
    }
  }
  for (const auto& pair : pairs) {
    ::close(pair.client);
    ::close(pair.server);
  }
}

}  // namespace postrider::test
