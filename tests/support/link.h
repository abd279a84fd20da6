// A network link between two processes: a TCP proxy that can be cut as a cable is, without either
// end being told. Knows nothing of what it carries. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace postrider::test {

class Link {
 public:
  // Listens on a free loopback port and forwards to `target`, also of loopback.
  explicit Link(std::uint16_t target);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }

  // Nothing goes either way, and nobody is told, also when an end closes its connection; new
  // connections open and stay silent. Mended, what was under way arrives late, as TCP has it.
  void cut(bool cut) { cut_ = cut; }
  // The same for one connection, for good: the one that the target knows by the port `peer`.
  void cut_one(std::uint16_t peer) { cut_one_ = peer; }

 private:
  void run();

  std::uint16_t target_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<bool> cut_{false};
  std::atomic<std::uint16_t> cut_one_{0};
  std::thread thread_;
};

}  // namespace postrider::test
