#include "base/nats/protocol.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace postrider::nats {
namespace {

constexpr std::size_t kChunk = 64UL * 1024;
// More than any server sends: INFO grows with the size of a cluster, a payload to max_payload,
// which nats-server limits to 64 MiB.
constexpr std::size_t kLongestLine = 1024UL * 1024;
constexpr std::size_t kLongestMessage = 65UL * 1024 * 1024;
constexpr std::string_view kEnd = "\r\n";
constexpr std::string_view kVersion = "NATS/1.0";

tl::unexpected<Error> unreadable(std::string_view line) {
  return fail(
      ErrorKind::kBrokerUnavailable,
      "the NATS server sent something else than its protocol: " + std::string(line.substr(0, 60)));
}

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// Names are matched in any case, as servers and clients do.
bool takes_name(std::string_view& line, std::string_view name) {
  if (line.size() < name.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i)
    if ((line[i] & ~0x20) != (name[i] & ~0x20)) return false;
  if (line.size() > name.size() && !is_blank(line[name.size()])) return false;
  line.remove_prefix(name.size());
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  return true;
}

// The words of a MSG or HMSG line; 0 when there are too many.
std::size_t split(std::string_view line, std::array<std::string_view, 5>& words) {
  std::size_t count = 0;
  while (!line.empty()) {
    const auto end = std::min(line.find_first_of(" \t"), line.size());
    if (end > 0) {
      if (count == words.size()) return 0;
      words[count++] = line.substr(0, end);
    }
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return count;
}

bool to_number(std::string_view text, std::size_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'')
    text = text.substr(1, text.size() - 2);
  return text;
}

void append_number(std::string& out, std::size_t number) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append(kEnd);
}

}  // namespace

bool Delivery::no_responders() const {
  return payload.empty() && headers.starts_with(kVersion) &&
         headers.substr(kVersion.size()).starts_with(" 503");
}

std::span<char> ServerReader::room() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    // One large message is no reason to keep its memory.
    if (buffer_.size() > 4 * kChunk) std::vector<char>(kChunk).swap(buffer_);
  }
  const std::size_t least = std::max(wanted_, end_ - begin_ + kChunk / 4);
  if (buffer_.size() - begin_ < least) {
    if (begin_ < end_) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() < least) buffer_.resize(std::max(least, kChunk));
  }
  return std::span(buffer_).subspan(end_);
}

Result<std::optional<ServerOperation>> ServerReader::next() {
  while (true) {
    const std::string_view rest(buffer_.data() + begin_, end_ - begin_);
    const auto newline = rest.find('\n');
    if (newline == std::string_view::npos) {
      if (rest.size() > kLongestLine) return unreadable(rest);
      return std::nullopt;
    }
    std::string_view line = rest.substr(0, newline);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::string_view whole = line;
    const std::size_t line_bytes = newline + 1;
    if (takes_name(line, "MSG")) return message(line, line_bytes, false);
    if (takes_name(line, "HMSG")) return message(line, line_bytes, true);
    begin_ += line_bytes;
    if (takes_name(line, "+OK") || line.empty()) continue;
    if (takes_name(line, "PING")) return ServerOperation(Ping{});
    if (takes_name(line, "PONG")) return ServerOperation(Pong{});
    if (takes_name(line, "INFO")) return ServerOperation(ServerInfo{line});
    if (takes_name(line, "-ERR")) return ServerOperation(Refusal{unquoted(line)});
    return unreadable(whole);
  }
}

// MSG subject sid [reply] bytes, HMSG subject sid [reply] bytes-of-headers bytes.
Result<std::optional<ServerOperation>> ServerReader::message(std::string_view line,
                                                             std::size_t line_bytes, bool headers) {
  std::array<std::string_view, 5> words;
  const std::size_t least = headers ? 4 : 3;
  const std::size_t count = split(line, words);
  if (count < least || count > least + 1) return unreadable(line);
  std::size_t total = 0;
  std::size_t header_bytes = 0;
  if (!to_number(words[count - 1], total) || total > kLongestMessage ||
      (headers && !to_number(words[count - 2], header_bytes)) || header_bytes > total)
    return unreadable(line);
  wanted_ = line_bytes + total + kEnd.size();
  if (end_ - begin_ < wanted_) return std::nullopt;
  const std::string_view body(buffer_.data() + begin_ + line_bytes, total);
  if (std::string_view(body.data() + total, kEnd.size()) != kEnd) return unreadable(line);
  begin_ += std::exchange(wanted_, 0);
  return ServerOperation(Delivery{words[0], words[1], count > least ? words[2] : std::string_view(),
                                  body.substr(0, header_bytes), body.substr(header_bytes)});
}

std::size_t append_publish(std::string& out, std::string_view subject, std::string_view reply,
                           std::span<const std::pair<std::string_view, std::string_view>> first,
                           Headers headers, std::string_view payload) {
  constexpr std::size_t kAround = 4;  // ": " and the line's end
  std::size_t bytes = kVersion.size() + 2 * kEnd.size();
  for (const auto& [name, value] : first) bytes += name.size() + value.size() + kAround;
  for (const auto& [name, value] : headers) bytes += name.size() + value.size() + kAround;
  out.append("HPUB ").append(subject).append(" ").append(reply);
  const std::size_t reply_end = out.size();
  out += ' ';
  append_number(out, bytes);
  out += ' ';
  append_number(out, bytes + payload.size());
  out.append(kEnd).append(kVersion).append(kEnd);
  for (const auto& [name, value] : first) append_header(out, name, value);
  for (const auto& [name, value] : headers) append_header(out, name, value);
  out.append(kEnd).append(payload).append(kEnd);
  return reply_end;
}

void append_publish(std::string& out, std::string_view subject, std::string_view reply,
                    std::string_view payload) {
  out.append("PUB ").append(subject).append(" ");
  if (!reply.empty()) out.append(reply).append(" ");
  append_number(out, payload.size());
  out.append(kEnd).append(payload).append(kEnd);
}

}  // namespace postrider::nats
