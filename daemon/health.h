// HTTP for machines: /livez, /readyz and /metrics (Prometheus). Read-only, no payloads, no keys, no
// DSNs.
//
// Listens on a thread of its own and asks the probe, which reads status boards; it never waits for
// the relay or an applier. One request a connection: an idle connection keeps nobody waiting, and
// one that says nothing at all is closed after a second.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace postrider {

// What the process says about itself. Called from the server's threads.
struct HealthProbe {
  struct Readiness {
    bool ready = false;
    std::string text;  // why, for people
  };
  std::function<Readiness()> readiness;
  std::function<std::string()> metrics;  // Prometheus' text form
};

class HealthServer {
 public:
  // Listens on "host:port" (port 0: any free one). Throws Failure(kConfiguration) when it cannot.
  HealthServer(const std::string& listen, HealthProbe probe);
  ~HealthServer();
  HealthServer(const HealthServer&) = delete;
  HealthServer& operator=(const HealthServer&) = delete;

  [[nodiscard]] int port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postrider
