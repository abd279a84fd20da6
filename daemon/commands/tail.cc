#include "daemon/tail/stream_reader.h"

#include <atomic>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/wake.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/stop_signals.h"
#include "relay/session_start.h"

namespace postrider {
namespace {

constexpr milliseconds kPoll{200};
constexpr milliseconds kLook{1000};

std::string printable(const std::string& data) {
  std::string text;
  constexpr unsigned char kFirstPrintable = 0x20;
  for (const char c : data) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte < kFirstPrintable && c != '\t' ? '.' : c;
  }
  return text;
}

void print_json(const wire::StoredMessage& message) {
  nlohmann::json headers = nlohmann::json::object();
  std::size_t at = message.headers.find("\r\n");
  while (at != std::string::npos) {
    at += 2;
    const auto end = message.headers.find("\r\n", at);
    const auto colon = message.headers.find(':', at);
    if (end == std::string::npos || end == at || colon > end) break;
    auto value = message.headers.substr(colon + 1, end - colon - 1);
    if (value.starts_with(' ')) value.erase(0, 1);
    headers[message.headers.substr(at, colon - at)] = value;
    at = end;
  }
  std::cout << nlohmann::json{{"seq", message.seq},
                              {"subject", message.subject},
                              {"headers", headers},
                              {"payload", message.data}}
                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
            << std::endl;
}

void print_text(const wire::StoredMessage& message) {
  const auto value = [&](std::string_view name) {
    return std::string(wire::find_header(message.headers, name).value_or("-"));
  };
  const auto header = PositionHeader::parse(value(kPositionHeader));
  std::cout << message.seq << "  " << message.subject << "  "
            << (header ? header->position.to_string() : "-") << (header && header->last ? "." : " ")
            << "  key=" << value("Postrider-Key") << "  " << printable(message.data) << std::endl;
}

// Parts of a large row as one message, with the last part's sequence and headers. A row whose
// beginning was not read comes in its parts.
class RowJoiner {
 public:
  // True when `message` is to be printed, then with all of its row.
  bool add(wire::StoredMessage& message) {
    const auto place =
        PositionHeader::parse(wire::find_header(message.headers, kPositionHeader).value_or(""));
    const auto parts = wire::find_header(message.headers, kPartsHeader);
    if (!place || !place->position.part || !parts) return true;
    if (*place->position.part == 0) {
      begun_ = place->position;
      payload_.clear();
    }
    Position first = place->position;
    first.part = 0;
    if (begun_ != first) return true;
    payload_ += message.data;
    if (std::to_string(*place->position.part + 1) != *parts) return false;
    message.data = std::exchange(payload_, {});
    begun_.reset();
    return true;
  }

 private:
  std::optional<Position> begun_;  // first part of the row that is being joined
  std::string payload_;
};

}  // namespace

int run_tail(const Config& config, const TailOptions& options) {
  StopSignals signals;
  Wake wake;
  std::atomic<bool> stop{false};
  const auto watch = signals.watch([&] {
    stop = true;
    wake.signal();
  });
  const auto client = connect_client(config.relay);
  StreamReader tail(*client, config.relay);
  if (!options.from) {
    tail.from_now();
  } else if (*options.from == "start") {
    tail.from_start();
  } else {
    const auto position = Position::parse(*options.from);
    if (!position)
      throw Failure(ErrorKind::kConfiguration, "--from " + *options.from + " is not a position",
                    "give start, or a position as `postrider status` prints it: "
                    "timeline/LSN/index in fixed width hexadecimal");
    tail.from_position(*position);
  }
  RowJoiner joiner;
  auto next_look = std::chrono::steady_clock::now() + kLook;
  while (!stop) {
    if (std::chrono::steady_clock::now() >= next_look) {
      if (!options.until_end && tail.restart_if_made_anew())
        std::cerr << "the stream was made anew: from its start" << std::endl;
      next_look = std::chrono::steady_clock::now() + kLook;
    }
    if (options.until_end && tail.next_seq() > tail.end_at_start()) break;
    auto message = tail.next();
    if (message && !(options.until_end && message->seq > tail.end_at_start())) {
      if (joiner.add(*message)) options.json ? print_json(*message) : print_text(*message);
    } else if (options.until_end) {
      break;
    } else {
      (void)wake.wait_for(kPoll);
    }
    if (!std::cout) return kExitNegative;  // whoever read us is gone
  }
  return kExitOk;
}

}  // namespace postrider
