#include "base/nats/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace postrider::nats {
namespace {

[[noreturn]] void throw_ended(const std::string& why) {
  throw Failure(ErrorKind::kBrokerUnavailable, "the connection to NATS ended: " + why);
}

std::string text_of(int error) {
  return std::generic_category().message(error);
}

// Other users of OpenSSL on this thread leave theirs behind.
void forget_errors() {
  ERR_clear_error();
  errno = 0;
}

// And forgets it: OpenSSL keeps errors for whoever asks next.
std::string tls_error() {
  std::array<char, 256> text{};
  const auto code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "closed";
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

[[noreturn]] void throw_unusable(const std::string& setting, const std::string& path) {
  throw Failure(ErrorKind::kConfiguration, setting + " " + path + ": " + tls_error(),
                "check the file: PEM, readable, certificate and key of one another");
}

void load_certificates(SSL_CTX* context, const NatsOptions& options) {
  const auto& ca = options.tls_ca_file;
  if (ca.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (SSL_CTX_load_verify_locations(context, ca.c_str(), nullptr) != 1) {
    throw_unusable("nats.tls_ca", ca);
  }
  if (options.tls_cert_file.empty()) return;
  if (SSL_CTX_use_certificate_chain_file(context, options.tls_cert_file.c_str()) != 1)
    throw_unusable("nats.tls_cert", options.tls_cert_file);
  if (SSL_CTX_use_PrivateKey_file(context, options.tls_key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1)
    throw_unusable("nats.tls_key", options.tls_key_file);
}

// An address is no name: certificates hold the two apart.
void expect_host(SSL* tls, const std::string& host) {
  auto* const expected = SSL_get0_param(tls);
  X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) == 1) return;
  ERR_clear_error();
  if (X509_VERIFY_PARAM_set1_host(expected, host.c_str(), host.size()) != 1 ||
      SSL_set_tlsext_host_name(tls, host.c_str()) != 1)
    throw Failure(ErrorKind::kConfiguration, "\"" + host + "\" is no host name",
                  "set nats.tls_hostname to a name in the server's certificate");
}

}  // namespace

void Socket::Free::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

void Socket::Free::operator()(ssl_st* tls) const {
  SSL_free(tls);
}

Socket::Socket(const std::string& host, const std::string& port, Deadline deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0)
    throw Failure(ErrorKind::kBrokerUnavailable, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  int left = 0;
  for (const auto* address = found; address != nullptr; address = address->ai_next) ++left;
  int error = 0;
  for (const auto* address = found; address != nullptr && fd_ < 0; address = address->ai_next) {
    // A silent one leaves time for those behind it.
    const auto now = std::chrono::steady_clock::now();
    error = try_connect(*address, now + (deadline - now) / left--);
    if (error != 0) close();
  }
  if (fd_ < 0) throw Failure(ErrorKind::kBrokerUnavailable, text_of(error));
  // Whole bursts are handed over at once; what follows is not to wait for their acknowledgement.
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Socket::~Socket() {
  close();
}

int Socket::try_connect(const addrinfo& address, Deadline deadline) {
  fd_ = ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) return errno;
  if (::connect(fd_, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  try {
    await(POLLOUT, deadline);
  } catch (const Failure&) {
    return ETIMEDOUT;
  }
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

void Socket::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Socket::start_tls(const NatsOptions& options, const std::string& host, Deadline deadline) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (!context_) throw Failure(ErrorKind::kInternal, "TLS: " + tls_error());
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  // What write() is called with again may have grown and moved.
  SSL_CTX_set_mode(context_.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  load_certificates(context_.get(), options);
  tls_.reset(SSL_new(context_.get()));
  if (!tls_ || SSL_set_fd(tls_.get(), fd_) != 1)
    throw Failure(ErrorKind::kInternal, "TLS: " + tls_error());
  expect_host(tls_.get(), options.tls_hostname.empty() ? host : options.tls_hostname);
  while (true) {
    const int result = SSL_connect(tls_.get());
    if (result == 1) return;
    const int error = SSL_get_error(tls_.get(), result);
    if (error == SSL_ERROR_WANT_READ) {
      await(POLLIN, deadline);
    } else if (error == SSL_ERROR_WANT_WRITE) {
      await(POLLOUT, deadline);
    } else {
      const long verdict = SSL_get_verify_result(tls_.get());
      throw Failure(
          ErrorKind::kBrokerUnavailable,
          "TLS handshake: " +
              (verdict == X509_V_OK ? tls_error() : X509_verify_cert_error_string(verdict)));
    }
  }
}

void Socket::await(short events, Deadline deadline) const {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd entry{fd_, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::max<long>(left.count(), 0)));
    if (ready > 0) return;
    if (ready < 0 && errno == EINTR) continue;
    throw Failure(ErrorKind::kBrokerUnavailable, ready == 0 ? "no answer in time" : text_of(errno));
  }
}

std::size_t Socket::read(std::span<char> room) {
  if (tls_) {
    const int most = static_cast<int>(std::min<std::size_t>(room.size(), 1U << 30U));
    forget_errors();
    return tls_result(SSL_read(tls_.get(), room.data(), most), "read");
  }
  const auto count = ::recv(fd_, room.data(), room.size(), 0);
  if (count > 0) return static_cast<std::size_t>(count);
  if (count == 0) throw_ended("closed by the server");
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
  throw_ended(text_of(errno));
}

std::size_t Socket::write(std::string_view bytes) {
  if (bytes.empty()) return 0;
  if (tls_) {
    const int most = static_cast<int>(std::min<std::size_t>(bytes.size(), 1U << 30U));
    forget_errors();
    return tls_result(SSL_write(tls_.get(), bytes.data(), most), "write");
  }
  const auto count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
  throw_ended(text_of(errno));
}

std::size_t Socket::tls_result(int result, const char* what) const {
  if (result > 0) return static_cast<std::size_t>(result);
  const int system = errno;
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return 0;
    case SSL_ERROR_ZERO_RETURN:
      throw_ended("closed by the server");
    case SSL_ERROR_SYSCALL:
      throw_ended(system == 0 ? "closed by the server" : text_of(system));
    default:
      throw_ended(std::string("TLS ") + what + ": " + tls_error());
  }
}

}  // namespace postrider::nats
