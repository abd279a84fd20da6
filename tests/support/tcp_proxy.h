// A TCP proxy between relay and broker that can lose what the broker answers, or what the relay
// publishes. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace postrider::test {

class TcpProxy {
 public:
  // Listens on a free loopback port and forwards to `target`. With a `version`, the server greets
  // as that one.
  explicit TcpProxy(std::uint16_t target, std::string version = {});
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }

  // From now on what the broker says is read and thrown away; what the relay says still arrives.
  void drop_answers(bool drop) { dropping_ = drop; }
  // The same for acknowledgements of JetStream alone: everything else is answered.
  void drop_acknowledgements(bool drop) { dropping_acknowledgements_ = drop; }
  // Keeps what the relay says back, in order, until it is let go: a network that is very late.
  void hold_requests(bool hold) { holding_ = hold; }
  [[nodiscard]] std::uint64_t held_bytes() const { return held_; }
  // Loses every message that the relay publishes; its JetStream API requests still arrive. So does
  // core NATS while a stream changes its leader.
  void lose_messages(bool lose) { losing_ = lose; }
  [[nodiscard]] std::uint64_t lost_messages() const { return lost_; }
  // Loses every request for a consumer's messages; everything else arrives.
  void lose_pull_requests(bool lose) { losing_pulls_ = lose; }
  [[nodiscard]] std::uint64_t lost_pull_requests() const { return lost_pulls_; }
  // Ends every connection with a TCP reset.
  void reset_connections() { reset_ = true; }
  // Bytes of answers thrown away so far.
  [[nodiscard]] std::uint64_t dropped_bytes() const { return dropped_; }
  [[nodiscard]] std::uint64_t connections() const { return connections_; }

 private:
  void run();
  // Takes the whole frames out of what a client said, without those that are to be lost.
  std::string take_frames(std::string& said);

  std::uint16_t target_;
  const std::string version_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<bool> dropping_{false};
  std::atomic<bool> dropping_acknowledgements_{false};
  std::atomic<bool> holding_{false};
  std::atomic<bool> losing_{false};
  std::atomic<bool> losing_pulls_{false};
  std::atomic<bool> reset_{false};
  std::atomic<std::uint64_t> held_{0};
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<std::uint64_t> lost_pulls_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> connections_{0};
  std::thread thread_;
};

}  // namespace postrider::test
