// HTTP for machines: /livez, /readyz and /metrics (Prometheus). Read-only, no payloads, no keys, no
// DSNs.
//
// Listens on a thread of its own and reads the relay's status board; it never waits for the relay.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "relay/status.h"

namespace postrider {

class HealthServer {
 public:
  // Listens on "host:port" (port 0: any free one). Throws Failure(kConfiguration) when it cannot.
  HealthServer(const std::string& listen, std::string source,
               const std::function<RelayStatus()>& status);
  ~HealthServer();
  HealthServer(const HealthServer&) = delete;
  HealthServer& operator=(const HealthServer&) = delete;

  [[nodiscard]] int port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postrider
