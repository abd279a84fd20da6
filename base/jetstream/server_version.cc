#include "base/jetstream/server_version.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <tuple>

namespace postrider {
namespace {

constexpr std::size_t kLongestGreeting = 64UL * 1024;

struct Address {
  std::string host;
  std::string port = "4222";
};

Address address_of(std::string url) {
  if (const auto scheme = url.find("://"); scheme != std::string::npos) url.erase(0, scheme + 3);
  if (const auto user = url.rfind('@'); user != std::string::npos) url.erase(0, user + 1);
  url = url.substr(0, url.find('/'));
  Address address;
  const auto colon = url.rfind(':');
  const bool has_port = colon != std::string::npos && url.find(']', colon) == std::string::npos;
  if (has_port) address.port = url.substr(colon + 1);
  address.host = url.substr(0, has_port ? colon : std::string::npos);
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  return address;
}

class Socket {
 public:
  explicit Socket(const addrinfo& address)
      : fd_(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    if (fd_ >= 0) (void)::connect(fd_, address.ai_addr, address.ai_addrlen);  // poll() tells
  }
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // The first line, without its end; nothing when it does not come.
  std::optional<std::string> read_line(std::chrono::steady_clock::time_point deadline) const {
    std::string line;
    while (line.size() < kLongestGreeting) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd entry{fd_, POLLIN, 0};
      if (left.count() <= 0 || ::poll(&entry, 1, static_cast<int>(left.count())) <= 0) break;
      char chunk[4096];
      const auto count = ::recv(fd_, chunk, sizeof chunk, 0);
      if (count <= 0) break;
      line.append(chunk, static_cast<std::size_t>(count));
      if (const auto end = line.find("\r\n"); end != std::string::npos) return line.substr(0, end);
    }
    return std::nullopt;
  }

 private:
  int fd_;
};

}  // namespace

bool ServerVersion::between(const ServerVersion& first, const ServerVersion& last) const {
  const auto order = [](const ServerVersion& v) { return std::tuple(v.major, v.minor, v.patch); };
  return order(first) <= order(*this) && order(*this) <= order(last);
}

bool ServerVersion::has_fast_ingest() const {
  return std::tuple(major, minor) >= std::tuple(2, 14);
}

std::optional<ServerVersion> parse_server_version(std::string_view text) {
  ServerVersion version;
  version.text = text;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (int* part : {&version.major, &version.minor, &version.patch}) {
    if (part != &version.major && (at == end || *at++ != '.')) return std::nullopt;
    const auto [stopped, error] = std::from_chars(at, end, *part);
    if (error != std::errc{} || *part < 0) return std::nullopt;
    at = stopped;
  }
  return version;
}

std::optional<ServerVersion> parse_greeting(std::string_view line) {
  constexpr std::string_view kStart = "INFO ";
  if (!line.starts_with(kStart)) return std::nullopt;
  const auto json = nlohmann::json::parse(line.substr(kStart.size()), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto version = json.find("version");
  if (version == json.end() || !version->is_string()) return std::nullopt;
  return parse_server_version(version->get<std::string>());
}

std::optional<ServerVersion> read_server_version(const std::string& url,
                                                 std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const Address address = address_of(url);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found) != 0)
    return std::nullopt;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, &::freeaddrinfo);
  for (const addrinfo* next = found; next != nullptr; next = next->ai_next)
    if (const auto line = Socket(*next).read_line(deadline)) return parse_greeting(*line);
  return std::nullopt;
}

}  // namespace postrider
