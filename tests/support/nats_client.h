// A NATS client of the tests' own: speaks the text protocol over a socket and shares no code with
// the relay, so that what the relay wrote is judged by somebody else. Not thread-safe. Throws
// std::runtime_error; every wait has a deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace postrider::test {

struct StreamMessage {
  std::uint64_t seq = 0;
  std::string subject;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string data;
  std::uint64_t stored_us = 0;  // when the broker stored it, by its clock; of a stream's only

  [[nodiscard]] std::optional<std::string> header(const std::string& name) const;
};

class NatsClient {
 public:
  // `connect` is merged into the CONNECT options: user, pass.
  explicit NatsClient(std::uint16_t port, const nlohmann::json& connect = nlohmann::json::object());
  ~NatsClient();
  NatsClient(const NatsClient&) = delete;
  NatsClient& operator=(const NatsClient&) = delete;

  // What the server says of itself: its version, say.
  [[nodiscard]] const nlohmann::json& server_info() const { return info_; }
  // The answer's payload.
  std::string request(const std::string& subject, const std::string& body);
  // A JetStream API call; `name` without the $JS.API prefix. Throws on an API error; one that says
  // that the system is unavailable for now is asked again, for some seconds.
  nlohmann::json api(const std::string& name,
                     const nlohmann::json& body = nlohmann::json::object());
  // Publishes to a stream and returns its acknowledgement.
  nlohmann::json publish(const std::string& subject, const std::string& body,
                         const std::vector<std::pair<std::string, std::string>>& headers = {});

  // Core NATS. When this returns, what is published on `subject` from now on arrives; a request on
  // the same client throws away what comes meanwhile.
  void subscribe(const std::string& subject);
  // When this returns, the server has it; nobody waits for an answer on `reply`.
  void announce(const std::string& subject, const std::string& reply, const std::string& body);
  // The next message of any subscription; nothing when none came within `limit`.
  std::optional<StreamMessage> next(std::chrono::milliseconds limit);

  [[nodiscard]] bool has_stream(const std::string& stream);
  // Every message that the stream holds now, in its order.
  std::vector<StreamMessage> read_stream(const std::string& stream);
  // The same, one by one, for streams that do not fit into memory; from sequence `first` on.
  void for_each_message(const std::string& stream,
                        const std::function<void(const StreamMessage&)>& visit,
                        std::uint64_t first = 1);

 private:
  struct Frame {
    std::string reply;
    StreamMessage message;
    std::string status;  // of a header-only answer: "404 No Messages"
  };
  void send(const std::string& bytes) const;
  std::string read_line();
  std::string read_bytes(std::size_t count);
  void fill();
  // One line of the server's, and a message if it was one.
  std::optional<Frame> next_frame();
  Frame next_message();
  bool has_line(std::chrono::steady_clock::time_point deadline);

  int fd_ = -1;
  nlohmann::json info_;
  std::string buffer_;
  std::size_t consumed_ = 0;
  std::string inbox_;
  std::uint64_t requests_ = 0;
  int subscriptions_ = 1;  // the inbox is the first
};

}  // namespace postrider::test
