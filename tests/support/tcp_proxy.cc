#include "tests/support/tcp_proxy.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/loopback.h"

namespace postrider::test {
namespace {

struct Pair {
  int client = -1;
  int server = -1;
  std::string held;    // of the client's, not yet forwarded
  std::string answer;  // the beginning of a frame of the server's
};

void close_with_reset(int fd) {
  const linger hard{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  ::close(fd);
}

bool send_all(int to, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// A greeting, or whatever the frame is, with this version.
std::string with_version(std::string frame, const std::string& version) {
  const std::string key = R"("version":")";
  const auto found = frame.find(key);
  if (version.empty() || !frame.starts_with("INFO ") || found == std::string::npos) return frame;
  const auto begin = found + key.size();
  return frame.replace(begin, frame.find('"', begin) - begin, version);
}

// Takes the whole frames of the NATS protocol out of what the server said. An acknowledgement is a
// MSG without the type that every answer of the JetStream API has.
std::string take_answers(std::string& said, bool without_acknowledgements,
                         const std::string& version) {
  std::string frames;
  while (true) {
    const auto line = said.find("\r\n");
    if (line == std::string::npos) return frames;
    std::size_t size = line + 2;
    const bool message = said.starts_with("MSG ");
    if (message || said.starts_with("HMSG ")) {
      const auto length = said.rfind(' ', line) + 1;
      size += std::stoul(said.substr(length, line - length)) + 2;
    }
    if (said.size() < size) return frames;
    const std::string_view body = std::string_view(said).substr(line + 2);
    const bool acknowledgement =
        message && body.starts_with('{') && !body.starts_with(R"({"type")");
    if (!acknowledgement || !without_acknowledgements)
      frames += with_version(said.substr(0, size), version);
    said.erase(0, size);
  }
}

// Reads what is there; empty when the connection ended.
std::string read_some(int from) {
  std::string chunk(65536, '\0');
  const auto n = ::recv(from, chunk.data(), chunk.size(), 0);
  chunk.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return chunk;
}

bool is_publish(std::string_view frame) {
  return frame.starts_with("PUB ") || frame.starts_with("HPUB ");
}

// Size of the first frame of the NATS protocol; 0 while it is not whole.
std::size_t frame_size(std::string_view said) {
  constexpr std::string_view kEnd = "\r\n";
  const auto end = said.find(kEnd);
  if (end == std::string_view::npos) return 0;
  std::size_t size = end + kEnd.size();
  if (is_publish(said)) {
    const auto line = said.substr(0, end);
    size += std::stoul(std::string(line.substr(line.rfind(' ') + 1))) + kEnd.size();
  }
  return said.size() >= size ? size : 0;
}

}  // namespace

TcpProxy::TcpProxy(std::uint16_t target, std::string version)
    : target_(target), version_(std::move(version)), listener_(listen_on_loopback(0)) {
  port_ = port_of(listener_);
  thread_ = std::thread([this] { run(); });
}

TcpProxy::~TcpProxy() {
  stop_ = true;
  thread_.join();
  ::close(listener_);
}

std::string TcpProxy::take_frames(std::string& said) {
  std::string taken;
  std::size_t used = 0;
  while (const auto size = frame_size(std::string_view(said).substr(used))) {
    const auto frame = std::string_view(said).substr(used, size);
    const auto subject = frame.substr(frame.find(' ') + 1);
    const bool is_event =
        is_publish(frame) && !subject.starts_with("$JS.") && !subject.starts_with("POSTRIDER.");
    const bool is_pull = is_publish(frame) && subject.starts_with("$JS.API.CONSUMER.MSG.NEXT.");
    if (losing_ && is_event)
      ++lost_;
    else if (losing_pulls_ && is_pull)
      ++lost_pulls_;
    else
      taken += frame;
    used += size;
  }
  said.erase(0, used);
  return taken;
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
      auto& pair = pairs[i];
      bool good = !reset;
      if (good && entries[2 * i + 1].revents != 0) {
        const auto said = read_some(pair.client);
        good = !said.empty();
        pair.held += said;
        held_ += said.size();
      }
      if (good && !holding_ && !pair.held.empty()) {
        good = send_all(pair.server, take_frames(pair.held));
      }
      if (good && entries[2 * i + 2].revents != 0) {
        const auto said = read_some(pair.server);
        good = !said.empty();
        if (dropping_) {
          dropped_ += said.size();
        } else {
          pair.answer += said;
          good = good && send_all(pair.client,
                                  take_answers(pair.answer, dropping_acknowledgements_, version_));
        }
      }
      if (good) {
        alive.push_back(std::move(pair));
      } else {
        close_with_reset(pair.client);
        ::close(pair.server);  // an orderly end: what was sent to the broker still arrives
      }
    }
    pairs.swap(alive);
    if ((entries[0].revents & POLLIN) == 0) continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int server = connect_to_loopback(target_);
    if (server < 0) {
      ::close(client);
      continue;
    }
    pairs.push_back({client, server, {}, {}});
    ++connections_;
  }
  for (const auto& pair : pairs) {
    ::close(pair.client);
    ::close(pair.server);
  }
}

}  // namespace postrider::test
