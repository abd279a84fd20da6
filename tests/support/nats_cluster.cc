#include "tests/support/nats_cluster.h"

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "dev/ports.h"
#include "tests/support/loopback.h"

namespace postrider::test {
namespace {

constexpr dev::milliseconds kPatience{60'000};

std::string name_of(std::size_t n) {
  return "n" + std::to_string(n + 1);
}

std::string at(std::uint16_t port) {
  return "127.0.0.1:" + std::to_string(port);
}

}  // namespace

NatsCluster::NatsCluster(std::filesystem::path folder) : folder_(std::move(folder)) {
  for (auto& port : route_ports_) port = dev::free_port();
  for (std::size_t from = 0; from < kSize; ++from)
    for (std::size_t to = 0; to < kSize; ++to)
      if (from != to) links_[from][to] = std::make_unique<Link>(route_ports_[to]);
  // Servers tell each other of third ones, at the address that those advertise: nobody listens
  // there, so that every route runs over its link.
  const auto nobody = dev::free_port();
  for (std::size_t n = 0; n < kSize; ++n) {
    std::string routes;
    for (std::size_t to = 0; to < kSize; ++to)
      if (to != n)
        routes +=
            (routes.empty() ? "" : ", ") + ("\"nats-route://" + at(links_[n][to]->port())) + "\"";
    dev::NatsServer::Options options;
    options.folder = folder_ / name_of(n);
    options.port = dev::free_port();
    http_ports_[n] = dev::free_port();
    options.settings = {"server_name: " + name_of(n),
                        "http: \"" + at(http_ports_[n]) + "\"",
                        "cluster { name: C1, listen: \"" + at(route_ports_[n]) +
                            "\", advertise: \"" + at(nobody) + "\", no_advertise: true",
                        "  routes: [ " + routes + "] }"};
    std::filesystem::create_directories(options.folder);
    servers_[n] = std::make_unique<dev::NatsServer>(options);
  }
  for (auto& server : servers_) server->start();
  (void)api("INFO");
}

NatsCluster::~NatsCluster() {
  for (std::size_t n = 0; n < kSize; ++n) {
    if (paused_[n]) resume(n);
    (void)servers_[n]->stop(/*kill=*/true);
  }
  std::filesystem::remove_all(folder_);
}

std::string NatsCluster::urls() const {
  std::string all;
  for (const auto& server : servers_) all += (all.empty() ? "" : ",") + server->url();
  return all;
}

std::string NatsCluster::logs() const {
  constexpr std::size_t kTail = 6000;
  std::string all;
  for (std::size_t n = 0; n < kSize; ++n) {
    std::ifstream file(servers_[n]->options().folder / "nats.log");
    std::string text;
    for (std::string line; std::getline(file, line);)
      if (line.find("Route") == std::string::npos) text += line + '\n';  // each second two
    all += "--- " + name_of(n) + '\n' + text.substr(text.size() - std::min(text.size(), kTail));
  }
  return all;
}

void NatsCluster::kill(std::size_t n) {
  if (!servers_.at(n)->stop(/*kill=*/true)) throw std::runtime_error("it does not die");
  paused_[n] = false;
}

void NatsCluster::start(std::size_t n) {
  servers_.at(n)->start();
}

void NatsCluster::pause(std::size_t n) {
  if (const auto pid = servers_.at(n)->pid()) ::kill(*pid, SIGSTOP);
  paused_[n] = true;
}

void NatsCluster::resume(std::size_t n) {
  if (const auto pid = servers_.at(n)->pid()) ::kill(*pid, SIGCONT);
  paused_[n] = false;
}

void NatsCluster::isolate(std::size_t n, bool isolated) {
  for (std::size_t other = 0; other < kSize; ++other) {
    if (other == n) continue;
    links_[n][other]->cut(isolated);
    links_[other][n]->cut(isolated);
  }
}

void NatsCluster::heal() {
  for (std::size_t n = 0; n < kSize; ++n) {
    isolate(n, false);
    if (paused_[n]) resume(n);
    start(n);
  }
}

bool NatsCluster::answers(std::size_t n) const {
  return !paused_[n] && servers_[n]->pid().has_value();
}

nlohmann::json NatsCluster::api(const std::string& name, const nlohmann::json& body) {
  std::optional<nlohmann::json> answer;
  const auto ask = [&] {
    for (std::size_t n = 0; n < kSize && !answer; ++n) {
      if (!answers(n)) continue;
      try {
        answer = NatsClient(servers_[n]->options().port).api(name, body);
      } catch (const std::runtime_error&) {
        // no leader at the moment, or this server knows of none
      }
    }
    return answer.has_value();
  };
  if (!dev::wait_until(ask, kPatience)) throw std::runtime_error("no server answers " + name);
  return *answer;
}

std::optional<nlohmann::json> NatsCluster::info(const std::string& stream) {
  for (std::size_t n = 0; n < kSize; ++n) {
    if (!answers(n)) continue;
    try {
      auto found = NatsClient(servers_[n]->options().port).api("STREAM.INFO." + stream);
      if (found.contains("cluster") && found["cluster"].contains("leader")) return found;
    } catch (const std::runtime_error&) {
      // as above
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> NatsCluster::leader(const std::string& stream) {
  const auto found = info(stream);
  if (!found) return std::nullopt;
  for (std::size_t n = 0; n < kSize; ++n)
    if ((*found)["cluster"]["leader"] == name_of(n)) return n;
  return std::nullopt;
}

std::size_t NatsCluster::wait_for_leader(const std::string& stream) {
  std::optional<std::size_t> found;
  if (!dev::wait_until([&] { return (found = leader(stream)).has_value(); }, kPatience))
    throw std::runtime_error("the stream finds no leader");
  return *found;
}

void NatsCluster::wait_until_healthy() {
  const auto healthy = [&] {
    return std::ranges::all_of(http_ports_, [](std::uint16_t port) {
      return http_get(port, "/healthz").starts_with("HTTP/1.1 200");
    });
  };
  if (!dev::wait_until(healthy, kPatience)) throw std::runtime_error("a server is not healthy");
}

void NatsCluster::wait_until_whole(const std::string& stream) {
  const auto whole = [&] {
    const auto found = info(stream);
    if (!found || !(*found)["cluster"].contains("replicas")) return false;
    std::size_t current = 0;
    for (const auto& replica : (*found)["cluster"]["replicas"])
      if (replica.value("current", false) && !replica.value("offline", false)) ++current;
    return current == kSize - 1;
  };
  if (!dev::wait_until(whole, kPatience)) throw std::runtime_error("the stream does not get whole");
}

std::vector<StreamMessage> NatsCluster::read_stream(const std::string& stream,
                                                    std::uint64_t at_least) {
  std::vector<StreamMessage> messages;
  const auto read = [&] {
    try {
      messages = NatsClient(servers_[wait_for_leader(stream)]->options().port).read_stream(stream);
      return messages.size() >= at_least;
    } catch (const std::runtime_error&) {
      return false;
    }
  };
  if (!dev::wait_until(read, 2 * kPatience)) throw std::runtime_error("no server shows the stream");
  return messages;
}

}  // namespace postrider::test
