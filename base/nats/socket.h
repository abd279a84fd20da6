// A TCP connection, with TLS where asked for, that never blocks once it is made.
//
// Not thread-safe. Throws Failure: kBrokerUnavailable for a connection that cannot be made or has
// ended, kConfiguration for certificates that cannot be read.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/jetstream/nats_options.h"

struct addrinfo;
struct ssl_ctx_st;  // OpenSSL's
struct ssl_st;

namespace postrider::nats {

using Deadline = std::chrono::steady_clock::time_point;

class Socket {
 public:
  // Connects to the first address of `host` that answers.
  Socket(const std::string& host, const std::string& port, Deadline deadline);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Shakes hands; the server's certificate must chain to the options' CA (none: the system's) and
  // name `host`, or the options' tls_hostname.
  void start_tls(const NatsOptions& options, const std::string& host, Deadline deadline);

  [[nodiscard]] int fd() const { return fd_; }
  // Bytes read into `room`; 0: none are there.
  [[nodiscard]] std::size_t read(std::span<char> room);
  // Bytes of `bytes` taken; 0: wait until fd() is writable.
  [[nodiscard]] std::size_t write(std::string_view bytes);
  // Waits for `events` of poll().
  void await(short events, Deadline deadline) const;

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const;
    void operator()(ssl_st* tls) const;
  };
  [[nodiscard]] std::size_t tls_result(int result, const char* what) const;
  // 0, or the error; fd_ is then to be closed.
  int try_connect(const addrinfo& address, Deadline deadline);
  void close();

  int fd_ = -1;
  std::unique_ptr<ssl_ctx_st, Free> context_;
  std::unique_ptr<ssl_st, Free> tls_;
};

}  // namespace postrider::nats
