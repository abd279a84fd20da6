#include "daemon/health.h"

#include <httplib.h>

#include <charconv>
#include <thread>
#include <utility>

#include "base/error.h"

namespace postrider {
namespace {

constexpr std::size_t kMaxRequestBytes = 8UL * 1024;
// A connection keeps a thread for as long as it is open: an idle one must not keep it from a probe.
constexpr std::size_t kThreads = 8;
constexpr std::size_t kRequestsPerConnection = 1;
constexpr int kSilentSeconds = 1;
constexpr int kOk = 200;
constexpr int kUnavailable = 503;

std::pair<std::string, int> split_address(const std::string& listen) {
  const auto colon = listen.rfind(':');
  int port = -1;
  if (colon != std::string::npos) {
    const char* end = listen.data() + listen.size();
    const auto [stopped, error] = std::from_chars(listen.data() + colon + 1, end, port);
    if (error != std::errc{} || stopped != end) port = -1;
  }
  if (port < 0 || port > 65535)
    throw Failure(ErrorKind::kConfiguration, "http.listen = \"" + listen + "\" is not host:port",
                  "for example 127.0.0.1:9464");
  return {listen.substr(0, colon), port};
}

}  // namespace

struct HealthServer::Impl {
  httplib::Server server;
  int port = 0;
  std::thread thread;
};

HealthServer::HealthServer(const std::string& listen, HealthProbe probe)
    : impl_(std::make_unique<Impl>()) {
  auto& server = impl_->server;
  server.set_payload_max_length(kMaxRequestBytes);
  server.set_read_timeout(2);
  server.set_write_timeout(2);
  server.set_keep_alive_max_count(kRequestsPerConnection);
  server.set_keep_alive_timeout(kSilentSeconds);
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  // Alive means that a restart would not help: also while the broker is down, also when halted.
  server.Get("/livez", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("alive\n", "text/plain");
  });
  server.Get("/readyz", [readiness = std::move(probe.readiness)](const httplib::Request&,
                                                                 httplib::Response& response) {
    const auto now = readiness();
    response.status = now.ready ? kOk : kUnavailable;
    response.set_content(now.text, "text/plain");
  });
  server.Get("/metrics", [metrics = std::move(probe.metrics)](const httplib::Request&,
                                                              httplib::Response& response) {
    response.set_content(metrics(), "text/plain; version=0.0.4");
  });
  const auto [host, port] = split_address(listen);
  if (port == 0) {
    impl_->port = server.bind_to_any_port(host);
  } else if (server.bind_to_port(host, port)) {
    impl_->port = port;
  }
  if (impl_->port <= 0)
    throw Failure(ErrorKind::kConfiguration, "cannot listen on " + listen,
                  "another process may hold the port: change http.listen");
  impl_->thread = std::thread([this] { impl_->server.listen_after_bind(); });
}

HealthServer::~HealthServer() {
  impl_->server.stop();
  if (impl_->thread.joinable()) impl_->thread.join();
}

int HealthServer::port() const {
  return impl_->port;
}

}  // namespace postrider
