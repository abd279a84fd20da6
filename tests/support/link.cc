#include "tests/support/link.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "dev/ports.h"
#include "tests/support/loopback.h"

namespace postrider::test {
namespace {

constexpr int kTurnMs = 10;
constexpr std::size_t kMostHeld = 1UL << 20U;  // bytes of one direction; then TCP holds back

struct Direction {
  std::string held;
  bool ended = false;
};

struct Connection {
  std::array<int, 2> ends{-1, -1};
  std::uint16_t peer = 0;         // our port, as the target knows it
  std::array<Direction, 2> from;  // what came from each end

  // Moves what it can; false when the connection is over.
  bool turn() {
    for (std::size_t side = 0; side < 2; ++side) {
      auto& direction = from[side];
      std::array<char, 65536> chunk{};
      while (!direction.ended && direction.held.size() < kMostHeld) {
        const auto got = ::recv(ends[side], chunk.data(), chunk.size(), MSG_DONTWAIT);
        if (got > 0) {
          direction.held.append(chunk.data(), static_cast<std::size_t>(got));
          continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
        direction.ended = true;
      }
      while (!direction.held.empty()) {
        const auto sent = ::send(ends[1 - side], direction.held.data(), direction.held.size(),
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (sent <= 0) return false;
        direction.held.erase(0, static_cast<std::size_t>(sent));
      }
      if (direction.ended && direction.held.empty()) return false;
    }
    return true;
  }
  void close() const {
    for (const int end : ends) ::close(end);
  }
};

}  // namespace

// The port is one that the kernel does not give to others, so that a server's peers find it again.
Link::Link(std::uint16_t target)
    : target_(target), port_(dev::free_port()), listener_(listen_on_loopback(port_)) {
  thread_ = std::thread([this] { run(); });
}

Link::~Link() {
  stop_ = true;
  thread_.join();
  ::close(listener_);
}

void Link::run() {
  std::vector<Connection> connections;
  while (!stop_) {
    if (cut_) {
      ::poll(nullptr, 0, kTurnMs);
      continue;
    }
    std::vector<pollfd> entries{{listener_, POLLIN, 0}};
    for (const auto& connection : connections)
      for (std::size_t side = 0; side < 2; ++side) {
        const bool waits = !connection.from[1 - side].held.empty();
        entries.push_back({connection.peer == cut_one_ ? -1 : connection.ends[side],
                           static_cast<short>(waits ? POLLIN | POLLOUT : POLLIN), 0});
      }
    ::poll(entries.data(), entries.size(), kTurnMs);
    if (cut_) continue;
    std::erase_if(connections, [this](Connection& connection) {
      if (connection.peer == cut_one_) return false;
      const bool over = !connection.turn();
      if (over) connection.close();
      return over;
    });
    if ((entries[0].revents & POLLIN) == 0) continue;
    Connection connection;
    connection.ends[0] = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    connection.ends[1] = connect_to_loopback(target_);
    if (connection.ends[1] >= 0) {
      connection.peer = port_of(connection.ends[1]);
      connections.push_back(std::move(connection));
    } else {
      ::close(connection.ends[0]);
    }
  }
  for (const auto& connection : connections) connection.close();
}

}  // namespace postrider::test
