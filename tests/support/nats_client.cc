#include "tests/support/nats_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>
#include <sstream>
#include <stdexcept>

#include "dev/process.h"
#include "tests/support/loopback.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;

constexpr int kPatienceMs = 20'000;
constexpr std::uint64_t kBatch = 5000;
constexpr std::uint64_t kNanosecondsPerMicrosecond = 1000;

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, by);)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

// "NATS/1.0 404 No Messages\r\nName: value\r\n\r\n"; returns the status.
std::string parse_headers(const std::string& block, StreamMessage& message) {
  std::string status;
  std::size_t at = block.find("\r\n");
  if (at > 8) status = block.substr(9, at - 9);
  at += 2;
  while (at < block.size()) {
    const auto end = block.find("\r\n", at);
    if (end == std::string::npos || end == at) break;
    const auto colon = block.find(':', at);
    auto value = block.substr(colon + 1, end - colon - 1);
    if (value.starts_with(' ')) value.erase(0, 1);
    message.headers.emplace_back(block.substr(at, colon - at), value);
    at = end + 2;
  }
  return status;
}

std::string header_block(const std::vector<std::pair<std::string, std::string>>& headers) {
  std::string block = "NATS/1.0\r\n";
  for (const auto& [name, value] : headers) block += name + ": " + value + "\r\n";
  return block + "\r\n";
}

}  // namespace

std::optional<std::string> StreamMessage::header(const std::string& name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return std::nullopt;
}

NatsClient::NatsClient(std::uint16_t port, const Json& connect) {
  fd_ = connect_to_loopback(port);
  if (fd_ < 0)
    throw std::runtime_error("test client: cannot connect to port " + std::to_string(port));
  std::random_device random;
  inbox_ = "_INBOX.test" + std::to_string(random()) + std::to_string(random());
  Json options = {{"verbose", false},      {"pedantic", false},     {"headers", true},
                  {"no_responders", true}, {"lang", "test"},        {"version", "0"},
                  {"protocol", 1},         {"tls_required", false}, {"name", "test"}};
  options.update(connect);
  const auto greeting = read_line();  // INFO {...}
  info_ = Json::parse(greeting.substr(greeting.find('{')));
  send("CONNECT " + options.dump() + "\r\nSUB " + inbox_ + ".* 1\r\nPING\r\n");
  while (read_line() != "PONG") {
  }
}

NatsClient::~NatsClient() {
  ::close(fd_);
}

void NatsClient::send(const std::string& bytes) const {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const auto n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) throw std::runtime_error("test client: connection lost while sending");
    sent += static_cast<std::size_t>(n);
  }
}

void NatsClient::fill() {
  if (consumed_ > 0) {
    buffer_.erase(0, consumed_);
    consumed_ = 0;
  }
  pollfd entry{fd_, POLLIN, 0};
  if (::poll(&entry, 1, kPatienceMs) != 1) throw std::runtime_error("test client: no answer");
  std::array<char, 65536> chunk{};
  const auto n = ::recv(fd_, chunk.data(), chunk.size(), 0);
  if (n <= 0) throw std::runtime_error("test client: connection closed");
  buffer_.append(chunk.data(), static_cast<std::size_t>(n));
}

std::string NatsClient::read_line() {
  while (true) {
    const auto end = buffer_.find("\r\n", consumed_);
    if (end != std::string::npos) {
      auto line = buffer_.substr(consumed_, end - consumed_);
      consumed_ = end + 2;
      if (line.starts_with("-ERR")) throw std::runtime_error("test client: " + line);
      return line;
    }
    fill();
  }
}

std::string NatsClient::read_bytes(std::size_t count) {
  while (buffer_.size() - consumed_ < count) fill();
  auto bytes = buffer_.substr(consumed_, count);
  consumed_ += count;
  return bytes;
}

std::optional<NatsClient::Frame> NatsClient::next_frame() {
  const auto line = read_line();
  if (line == "PING") {
    send("PONG\r\n");
    return std::nullopt;
  }
  const auto words = split(line, ' ');
  const bool with_headers = !words.empty() && words[0] == "HMSG";
  if (!with_headers && (words.empty() || words[0] != "MSG")) return std::nullopt;
  Frame frame;
  frame.message.subject = words[1];
  const std::size_t sizes = with_headers ? 2 : 1;
  if (words.size() > 3 + sizes) frame.reply = words[3];
  const auto total = std::stoul(words.back());
  const auto header_size = with_headers ? std::stoul(words[words.size() - 2]) : 0;
  const auto bytes = read_bytes(total + 2);
  if (with_headers) frame.status = parse_headers(bytes.substr(0, header_size), frame.message);
  frame.message.data = bytes.substr(header_size, total - header_size);
  return frame;
}

NatsClient::Frame NatsClient::next_message() {
  while (true)
    if (auto frame = next_frame()) return std::move(*frame);
}

void NatsClient::subscribe(const std::string& subject) {
  send("SUB " + subject + " " + std::to_string(++subscriptions_) + "\r\nPING\r\n");
  while (read_line() != "PONG") {
  }
}

void NatsClient::announce(const std::string& subject, const std::string& reply,
                          const std::string& body) {
  send("PUB " + subject + " " + reply + " " + std::to_string(body.size()) + "\r\n" + body +
       "\r\nPING\r\n");
  while (read_line() != "PONG") {
  }
}

bool NatsClient::has_line(std::chrono::steady_clock::time_point deadline) {
  while (buffer_.find("\r\n", consumed_) == std::string::npos) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        std::max(deadline - std::chrono::steady_clock::now(), std::chrono::nanoseconds(0)));
    pollfd entry{fd_, POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(left.count())) != 1) return false;
    fill();
  }
  return true;
}

std::optional<StreamMessage> NatsClient::next(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (has_line(deadline))
    if (auto frame = next_frame(); frame && !frame->message.subject.starts_with(inbox_))
      return std::move(frame->message);
  return std::nullopt;
}

std::string NatsClient::request(const std::string& subject, const std::string& body) {
  const auto reply = inbox_ + "." + std::to_string(++requests_);
  send("PUB " + subject + " " + reply + " " + std::to_string(body.size()) + "\r\n" + body + "\r\n");
  while (true) {
    auto frame = next_message();
    if (frame.message.subject != reply) continue;
    if (frame.status.starts_with("503"))
      throw std::runtime_error("test client: no responders on " + subject);
    return frame.message.data;
  }
}

Json NatsClient::api(const std::string& name, const Json& body) {
  constexpr int kTemporarilyUnavailable = 10008;  // a cluster that has no leader yet
  constexpr dev::milliseconds kPatience{15'000};
  Json answer;
  (void)dev::wait_until(
      [&] {
        answer = Json::parse(request("$JS.API." + name, body.empty() ? "" : body.dump()));
        return !answer.contains("error") ||
               answer["error"].value("err_code", 0) != kTemporarilyUnavailable;
      },
      kPatience);
  if (answer.contains("error"))
    throw std::runtime_error("test client: " + name + ": " + answer["error"].dump());
  return answer;
}

Json NatsClient::publish(const std::string& subject, const std::string& body,
                         const std::vector<std::pair<std::string, std::string>>& headers) {
  if (headers.empty()) return Json::parse(request(subject, body));
  const auto reply = inbox_ + "." + std::to_string(++requests_);
  const auto block = header_block(headers);
  send("HPUB " + subject + " " + reply + " " + std::to_string(block.size()) + " " +
       std::to_string(block.size() + body.size()) + "\r\n" + block + body + "\r\n");
  while (true) {
    auto frame = next_message();
    if (frame.message.subject == reply) return Json::parse(frame.message.data);
  }
}

bool NatsClient::has_stream(const std::string& stream) {
  return !Json::parse(request("$JS.API.STREAM.INFO." + stream, "")).contains("error");
}

std::vector<StreamMessage> NatsClient::read_stream(const std::string& stream) {
  std::vector<StreamMessage> messages;
  for_each_message(stream,
                   [&messages](const StreamMessage& message) { messages.push_back(message); });
  return messages;
}

void NatsClient::for_each_message(const std::string& stream,
                                  const std::function<void(const StreamMessage&)>& visit,
                                  std::uint64_t first) {
  const auto state = api("STREAM.INFO." + stream)["state"];
  if (state["messages"].get<std::uint64_t>() == 0 || state["last_seq"] < first) return;
  const auto consumer =
      api("CONSUMER.CREATE." + stream, {{"stream_name", stream},
                                        {"config",
                                         {{"ack_policy", "none"},
                                          {"deliver_policy", "by_start_sequence"},
                                          {"opt_start_seq", std::max<std::uint64_t>(first, 1)},
                                          {"replay_policy", "instant"},
                                          {"max_waiting", 8},
                                          {"inactive_threshold", 60'000'000'000}}}})["name"]
          .get<std::string>();
  std::uint64_t pending = 1;
  while (pending > 0) {
    const auto reply = inbox_ + "." + std::to_string(++requests_);
    const auto body = Json{{"batch", kBatch}, {"no_wait", true}}.dump();
    send("PUB $JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer + " " + reply + " " +
         std::to_string(body.size()) + "\r\n" + body + "\r\n");
    for (std::uint64_t got = 0; got < kBatch && pending > 0;) {
      auto frame = next_message();
      if (!frame.reply.starts_with("$JS.ACK.")) {
        if (!frame.status.empty()) break;  // the batch ended early
        continue;
      }
      // $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>
      const auto parts = split(frame.reply, '.');
      frame.message.seq = std::stoull(parts[parts.size() - 4]);
      frame.message.stored_us = std::stoull(parts[parts.size() - 2]) / kNanosecondsPerMicrosecond;
      pending = std::stoull(parts.back());
      ++got;
      visit(frame.message);
    }
  }
  api("CONSUMER.DELETE." + stream + "." + consumer);
}

}  // namespace postrider::test
