// A link that a test can break: a TCP proxy between one process and one server on loopback, blind
// to what is said on it. Thread-safe.
//
// Up is what the process says, down what the server answers.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace postrider::campaign {

class Link {
 public:
  // Listens on a free loopback port and forwards to `target`.
  explicit Link(std::uint16_t target);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Forwarded so far, both ways.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  // Ends every connection: by FIN on both sides, or by RST towards the process.
  void cut() { end_ = End::kCut; }
  void reset() { end_ = End::kReset; }
  // A half-open network: what is said in that direction does not arrive, and neither end is told.
  void hold(bool up, bool down) {
    hold_up_ = up;
    hold_down_ = down;
  }
  // Once so many bytes more have been answered, answers are lost, while requests still arrive. The
  // answers that the connections are owed are lost for good: reset them before healing.
  void lose_answers_after(std::uint64_t bytes) { answers_left_ = static_cast<std::int64_t>(bytes); }
  [[nodiscard]] std::uint64_t lost_bytes() const { return lost_; }
  // Every byte arrives so much later, in order.
  void delay(std::chrono::milliseconds time) { delay_ms_ = time.count(); }
  // As it was at first; connections stay.
  void heal();

 private:
  enum class End : std::uint8_t { kNone, kCut, kReset };
  void run();

  std::uint16_t target_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<bool> hold_up_{false};
  std::atomic<bool> hold_down_{false};
  std::atomic<End> end_{End::kNone};
  std::atomic<std::int64_t> answers_left_{-1};  // negative: none are lost
  std::atomic<std::int64_t> delay_ms_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> lost_{0};
  std::thread thread_;
};

}  // namespace postrider::campaign
