// NATS's client protocol as text: what a server sends, taken apart, and what a publisher sends, put
// together. Pure. Source: docs.nats.io, "Client Protocol"; nats-server's parser.go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace postrider::nats {

struct ServerInfo {
  std::string_view json;
};
struct Delivery {
  std::string_view subject;
  std::string_view sid;  // of the subscription that it is for, as SUB named it
  std::string_view reply;
  std::string_view headers;  // from "NATS/1.0" to the empty line; empty: none
  std::string_view payload;

  // What a request gets that nobody listens to.
  [[nodiscard]] bool no_responders() const;
};
struct Ping {};
struct Pong {};
struct Refusal {
  std::string_view text;  // without -ERR and quotes
};
using ServerOperation = std::variant<ServerInfo, Delivery, Ping, Pong, Refusal>;

// Holds what has been read and not yet been taken apart; not more than one message can need.
class ServerReader {
 public:
  // Where to read into; never empty. Ends the lifetime of what next() returned.
  [[nodiscard]] std::span<char> room();
  // So many bytes were read there.
  void took(std::size_t bytes) { end_ += bytes; }
  // The next whole operation, valid until room(); nothing until more is read. kBrokerUnavailable
  // for bytes that no server sends.
  [[nodiscard]] Result<std::optional<ServerOperation>> next();

 private:
  [[nodiscard]] Result<std::optional<ServerOperation>> message(std::string_view line,
                                                               std::size_t line_bytes,
                                                               bool headers);

  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t wanted_ = 0;  // of the operation at begin_, where that is known
};

using Headers = std::span<const std::pair<std::string, std::string>>;

// Appends HPUB; returns where in `out` the reply subject ends. `first` stands before `headers` in
// the message: a server looks for its own from the front. Neither names nor values hold control
// characters.
std::size_t append_publish(std::string& out, std::string_view subject, std::string_view reply,
                           std::span<const std::pair<std::string_view, std::string_view>> first,
                           Headers headers, std::string_view payload);
// Appends PUB: no headers; no reply where that is empty.
void append_publish(std::string& out, std::string_view subject, std::string_view reply,
                    std::string_view payload);

}  // namespace postrider::nats
