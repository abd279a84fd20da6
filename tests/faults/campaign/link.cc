#include "tests/faults/campaign/link.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <string>
#include <vector>

#include "tests/support/loopback.h"

namespace postrider::campaign {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostQueued = 1U << 20U;  // of one direction; then it is not read any more
constexpr int kTurnMs = 20;                     // how late a changed setting may be noticed

struct Chunk {
  Clock::time_point due;
  std::string bytes;
};

// One direction of one connection.
struct Flow {
  int from = -1;
  int to = -1;
  std::deque<Chunk> chunks;
  std::size_t queued = 0;

  // False when the connection has ended.
  bool read(Clock::duration delay) {
    std::array<char, 65536> buffer;  // NOLINT: filled by recv
    const auto n = ::recv(from, buffer.data(), buffer.size(), 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    chunks.push_back({Clock::now() + delay, {buffer.data(), static_cast<std::size_t>(n)}});
    queued += static_cast<std::size_t>(n);
    return true;
  }
  bool write(std::atomic<std::uint64_t>& forwarded) {
    while (!chunks.empty() && chunks.front().due <= Clock::now()) {
      auto& bytes = chunks.front().bytes;
      const auto n = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      forwarded += static_cast<std::uint64_t>(n);
      queued -= static_cast<std::size_t>(n);
      if (static_cast<std::size_t>(n) < bytes.size()) {
        bytes.erase(0, static_cast<std::size_t>(n));
        return true;
      }
      chunks.pop_front();
    }
    return true;
  }
  std::size_t drop() {
    const auto dropped = queued;
    chunks.clear();
    queued = 0;
    return dropped;
  }
};

struct Pair {
  Flow up;
  Flow down;
};

void close_pair(const Pair& pair, bool reset) {
  if (reset) {
    const linger hard{1, 0};
    ::setsockopt(pair.up.from, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }
  ::close(pair.up.from);
  ::close(pair.up.to);
}

// Connects what the listener has to offer; nothing when the server does not listen.
void accept_one(int listener, std::uint16_t target, std::vector<Pair>& pairs) {
  const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  const int server = test::connect_to_loopback(target);
  if (server < 0) {
    ::close(client);
    return;
  }
  const int yes = 1;
  for (const int fd : {client, server})
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  ::fcntl(server, F_SETFL, O_NONBLOCK);
  pairs.push_back({{client, server, {}, 0}, {server, client, {}, 0}});
}

}  // namespace

Link::Link(std::uint16_t target)
    : target_(target), listener_(test::listen_on_loopback(0, SOCK_NONBLOCK)) {
  port_ = test::port_of(listener_);
  thread_ = std::thread([this] { run(); });
}

Link::~Link() {
  stop_ = true;
  thread_.join();
  ::close(listener_);
}

void Link::heal() {
  hold(false, false);
  answers_left_ = -1;
  delay_ms_ = 0;
}

void Link::run() {
  std::vector<Pair> pairs;
  while (!stop_) {
    const bool up = !hold_up_;
    const bool down = !hold_down_;
    std::vector<pollfd> entries{{listener_, POLLIN, 0}};
    // A held direction is not read: the sender's buffers fill, as on a network that has gone.
    for (const auto& pair : pairs) {
      const auto entry = [](const Flow& reads, bool open, const Flow& writes, bool flows) {
        const bool ready =
            !writes.chunks.empty() && flows && writes.chunks.front().due <= Clock::now();
        const auto events = static_cast<short>((open && reads.queued < kMostQueued ? POLLIN : 0) |
                                               (ready ? POLLOUT : 0));
        // Without an interest not even its end is asked for, which would be told for ever.
        return pollfd{events == 0 ? -1 : reads.from, events, 0};
      };
      entries.push_back(entry(pair.up, up, pair.down, down));
      entries.push_back(entry(pair.down, down, pair.up, up));
    }
    ::poll(entries.data(), entries.size(), delay_ms_ > 0 ? 1 : kTurnMs);
    const End end = end_.exchange(End::kNone);
    const auto delay = std::chrono::milliseconds(delay_ms_.load());
    std::vector<Pair> alive;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      auto& pair = pairs[i];
      constexpr int kReadable = POLLIN | POLLHUP | POLLERR;
      bool good = end == End::kNone;
      if (good && up && (entries[2 * i + 1].revents & kReadable) != 0) good = pair.up.read(delay);
      if (good && down && (entries[2 * i + 2].revents & kReadable) != 0) {
        const auto before = pair.down.queued;
        good = pair.down.read(delay);
        if (auto left = answers_left_.load(); left >= 0) {
          left -= static_cast<std::int64_t>(pair.down.queued - before);
          answers_left_ = left > 0 ? left : 0;
          if (left <= 0) lost_ += pair.down.drop();
        }
      }
      if (up && !pair.up.chunks.empty()) good = pair.up.write(bytes_) && good;
      if (down && !pair.down.chunks.empty()) good = pair.down.write(bytes_) && good;
      if (good)
        alive.push_back(std::move(pair));
      else
        close_pair(pair, end == End::kReset);
    }
    pairs.swap(alive);
    if ((entries[0].revents & POLLIN) != 0) accept_one(listener_, target_, pairs);
  }
  for (const auto& pair : pairs) close_pair(pair, false);
}

}  // namespace postrider::campaign
