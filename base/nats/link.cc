#include "base/nats/link.h"

#include <openssl/rand.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <utility>

#include "base/jetstream/nats_library.h"
#include "base/nats/identity.h"

namespace postrider::nats {
namespace {

using Json = nlohmann::json;

constexpr const char* kDefaultPort = "4222";
// As on the connections of nats.c.
constexpr std::chrono::seconds kPingInterval{5};
constexpr int kMostPingsOut = 2;
constexpr std::size_t kReusedBytes = 1024UL * 1024;

// What the server says is text for people; its first words are fixed. Source: nats-server,
// errors.go. On an established connection, that we are no longer who may connect says nothing of
// what the files hold by now, such as a newer JWT: connecting again tells.
Failure failure_of(std::string_view refusal, bool established) {
  std::string lower(refusal);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto says = [&](const char* text) { return lower.find(text) != std::string::npos; };
  const bool unknown = says("authorization violation") || says("authentication expired") ||
                       says("authentication revoked");
  ErrorKind kind = ErrorKind::kBrokerUnavailable;
  if (says("permissions violation") || (unknown && !established)) kind = ErrorKind::kNoPermission;
  if (lower.starts_with("maximum payload violation")) kind = ErrorKind::kTooLarge;
  return {kind, "NATS reports: " + std::string(refusal), remedy_of(kind)};
}

bool wants_tls(const NatsOptions& options) {
  return !options.tls_ca_file.empty() || !options.tls_cert_file.empty();
}

template <class T>
T value_of(const Json& info, const char* name, T otherwise) {
  const auto found = info.find(name);
  try {
    return found == info.end() ? otherwise : found->get<T>();
  } catch (const Json::exception&) {
    return otherwise;
  }
}

}  // namespace

// scheme://user:password@host:port, of which only the host must be there.
std::vector<Link::Server> Link::servers_of(const std::string& urls) {
  std::vector<Server> servers;
  std::istringstream text(urls);
  for (std::string url; std::getline(text, url, ',');) {
    std::erase_if(url, [](char c) { return c == ' '; });
    if (url.empty()) continue;
    Server server;
    std::string_view rest = url;
    if (const auto scheme = rest.find("://"); scheme != std::string_view::npos) {
      server.tls = rest.substr(0, scheme) == "tls";
      rest.remove_prefix(scheme + 3);
    }
    if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
      const auto who = rest.substr(0, at);
      const auto colon = std::min(who.find(':'), who.size());
      server.user = who.substr(0, colon);
      if (colon < who.size()) server.password = who.substr(colon + 1);
      rest.remove_prefix(at + 1);
    }
    rest = rest.substr(0, rest.find('/'));
    // One that names nobody takes the first one's user, as NATS clients do.
    if (server.user.empty() && !servers.empty()) {
      server.user = servers.front().user;
      server.password = servers.front().password;
    }
    server.text = rest;
    const auto bracket = rest.starts_with('[') ? rest.find(']') : std::string_view::npos;
    const auto colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
    server.port = colon == std::string_view::npos ? kDefaultPort : rest.substr(colon + 1);
    server.host =
        bracket == std::string_view::npos ? rest.substr(0, colon) : rest.substr(1, bracket - 1);
    servers.push_back(std::move(server));
  }
  return servers;
}

Link::Link(const NatsOptions& options, const std::string& client_name,
           std::chrono::milliseconds timeout, const std::string& preferred)
    : inbox_prefix_(options.inbox_prefix) {
  auto servers = servers_of(options.url);
  std::ranges::shuffle(servers, std::random_device());
  for (const auto& first : servers_of(preferred))
    std::ranges::stable_partition(servers, [&](const Server& server) {
      return server.host == first.host && server.port == first.port;
    });
  std::optional<Error> error;
  for (const auto& server : servers) {
    try {
      connect(server, options, client_name, std::chrono::steady_clock::now() + timeout);
      return;
    } catch (const Failure& failure) {
      socket_.reset();
      reader_ = ServerReader();
      out_.clear();
      sent_ = 0;
      error = failure.error();
      error->context = "cannot connect to " + server.text + ": " + error->context;
    }
  }
  if (!error) error = Error{ErrorKind::kConfiguration, "nats.url names no server", ""};
  throw Failure(*error);
}

void Link::connect(const Server& server, const NatsOptions& options, const std::string& client_name,
                   Deadline deadline) {
  socket_ = std::make_unique<Socket>(server.host, server.port, deadline);
  Json info;
  while (info.is_null()) {
    const auto operation = next();
    if (operation) {
      const auto* said = std::get_if<ServerInfo>(&*operation);
      info =
          said == nullptr ? Json() : Json::parse(said->json, nullptr, /*allow_exceptions=*/false);
      if (!info.is_object())
        throw Failure(ErrorKind::kBrokerUnavailable, "what answers there is no NATS server");
    } else if (receive() == 0) {
      socket_->await(POLLIN, deadline);
    }
  }
  const bool tls = server.tls || wants_tls(options);
  const bool required = value_of(info, "tls_required", false);
  if (tls && !required && !value_of(info, "tls_available", false))
    throw Failure(ErrorKind::kBrokerUnavailable, "TLS is asked for, and the server has none");
  if (tls || required) {
    reader_ = ServerReader();  // what came in the clear behind INFO, anybody may have sent
    socket_->start_tls(options, server.host, deadline);
  }
  if (!value_of(info, "headers", false))
    throw Failure(ErrorKind::kBrokerUnavailable, "the server knows no headers");

  Json hello = {{"verbose", false},    {"pedantic", false}, {"tls_required", tls},
                {"name", client_name}, {"lang", "C++"},     {"version", "1"},
                {"protocol", 1},       {"headers", true},   {"no_responders", true}};
  add_identity(options, server.user, server.password, value_of(info, "nonce", std::string()),
               hello);
  try {
    out_ = "CONNECT " + hello.dump() + "\r\nPING\r\n";
  } catch (const Json::exception&) {
    throw Failure(ErrorKind::kConfiguration, "the NATS user or password is not UTF-8");
  }
  await_pong(deadline);
  established_ = true;
  pinged_ = std::chrono::steady_clock::now();
}

void Link::await_pong(Deadline deadline) {
  while (true) {
    flush();
    while (const auto operation = next())
      if (std::holds_alternative<Pong>(*operation)) return;
    if (receive() == 0)
      socket_->await(static_cast<short>(POLLIN | (backed_up() ? POLLOUT : 0)), deadline);
  }
}

void Link::flush() {
  backed_up_ = false;
  while (sent_ < out_.size()) {
    const auto taken = socket_->write(std::string_view(out_).substr(sent_));
    sent_ += taken;
    backed_up_ = taken == 0;
    if (!backed_up_) continue;
    if (sent_ <= out_.size() / 2) return;
    out_.erase(0, std::exchange(sent_, 0));
    return;
  }
  out_.clear();
  sent_ = 0;
  if (out_.capacity() > kReusedBytes) std::string().swap(out_);
}

void Link::keep_alive() {
  const auto now = std::chrono::steady_clock::now();
  if (now - pinged_ < kPingInterval) return;
  if (pings_out_ == kMostPingsOut)
    throw Failure(ErrorKind::kBrokerUnavailable, "the NATS server does not answer pings");
  pinged_ = now;
  ++pings_out_;
  out_ += "PING\r\n";
}

std::size_t Link::receive() {
  const auto bytes = socket_->read(reader_.room());
  reader_.took(bytes);
  return bytes;
}

std::optional<ServerOperation> Link::next() {
  auto operation = value_or_throw(reader_.next());
  if (!operation) return operation;
  if (std::holds_alternative<Ping>(*operation)) out_ += "PONG\r\n";
  if (std::holds_alternative<Pong>(*operation)) pings_out_ = 0;
  if (const auto* refusal = std::get_if<Refusal>(&*operation))
    throw failure_of(refusal->text, established_);
  return operation;
}

std::string Link::new_inbox() const {
  constexpr std::string_view kDigits =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr std::size_t kLength = 16;  // 95 bits
  std::string inbox = inbox_prefix_ + ".";
  std::array<unsigned char, kLength> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
    throw Failure(ErrorKind::kInternal, "no random numbers");
  for (const unsigned char byte : random) inbox += kDigits[byte % kDigits.size()];
  return inbox;
}

}  // namespace postrider::nats
