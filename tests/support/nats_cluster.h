// Three nats-servers with JetStream as one cluster on loopback. Each pair's routes run over links
// of their own that can be cut. Not thread-safe. Errors are std::runtime_error. Everything is
// stopped at the end.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dev/nats_server.h"
#include "tests/support/link.h"
#include "tests/support/nats_client.h"

namespace postrider::test {

class NatsCluster {
 public:
  static constexpr std::size_t kSize = 3;

  // `folder` is made and removed. Starts all three, and waits until JetStream has a leader.
  explicit NatsCluster(std::filesystem::path folder);
  ~NatsCluster();
  NatsCluster(const NatsCluster&) = delete;
  NatsCluster& operator=(const NatsCluster&) = delete;

  // All servers, separated by commas.
  [[nodiscard]] std::string urls() const;
  [[nodiscard]] dev::NatsServer& server(std::size_t n) { return *servers_.at(n); }

  // The ends of the servers' logs, for whoever reads of a failure.
  [[nodiscard]] std::string logs() const;

  void kill(std::size_t n);  // SIGKILL, and waits
  void start(std::size_t n);
  void pause(std::size_t n);
  void resume(std::size_t n);
  // Cuts the server off from the two others, or mends that; its clients still reach it.
  void isolate(std::size_t n, bool isolated);
  // Mends links, resumes and starts everything.
  void heal();

  // The stream's leader, as a server that answers says; nothing while there is none.
  [[nodiscard]] std::optional<std::size_t> leader(const std::string& stream);
  // Waits for one. Throws after a minute.
  [[nodiscard]] std::size_t wait_for_leader(const std::string& stream);
  // Waits until every server says that it is healthy: the servers that it follows have a leader, and
  // it has caught up with it, also in what is not a stream's. Throws after a minute.
  void wait_until_healthy();
  // Waits until the stream has a leader and both followers are current.
  void wait_until_whole(const std::string& stream);
  // The answer of any server; asks one after another until one answers, for a minute at most.
  [[nodiscard]] nlohmann::json api(const std::string& name,
                                   const nlohmann::json& body = nlohmann::json::object());
  // The stream, whole, from its leader, once it has at least so many messages; again where the
  // leader changes meanwhile: no other server answers, and the old one may not know that it is
  // behind. Throws after two minutes.
  [[nodiscard]] std::vector<StreamMessage> read_stream(const std::string& stream,
                                                       std::uint64_t at_least);

 private:
  [[nodiscard]] bool answers(std::size_t n) const;
  [[nodiscard]] std::optional<nlohmann::json> info(const std::string& stream);

  std::filesystem::path folder_;
  std::array<std::uint16_t, kSize> route_ports_{};
  std::array<std::uint16_t, kSize> http_ports_{};
  std::array<std::array<std::unique_ptr<Link>, kSize>, kSize> links_;  // [from][to]
  std::array<std::unique_ptr<dev::NatsServer>, kSize> servers_;
  std::array<bool, kSize> paused_{};
};

}  // namespace postrider::test
