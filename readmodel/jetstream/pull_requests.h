// The requests for messages that are under way to a pull consumer, as far as the server says. Pure.
//
// The server answers several in turn, so they are counted together: messages that are asked for,
// less those that came, less those that the end of a request says it has not brought. A request
// whose bytes fit its messages exactly ends without a word (nats-server up to 2.15), and one may be
// lost; but each expires.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "readmodel/jetstream/delivered_event.h"

namespace postrider {

class PullRequests {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kExpires{5};

  // From 1, in the order of their sending; 0: none was sent.
  [[nodiscard]] std::uint64_t newest() const { return newest_; }
  [[nodiscard]] std::uint64_t under_way() const { return under_way_; }
  // The next message is larger than what a request may bring: it is to be asked for alone.
  [[nodiscard]] bool next_is_large() const { return next_is_large_; }
  // Since when the server has said nothing to what was asked for; nothing: nothing is to be said.
  [[nodiscard]] std::optional<Time> silent_since() const { return silent_since_; }

  // A request is sent, as number newest(), for so many messages.
  void on_sent(std::uint64_t messages, Time now);
  void on_message(Time now);
  // `pending`: so many messages the request has not brought; where the server does not say, nothing
  // is on its way.
  void on_end(std::uint64_t number, RequestEnd how, std::optional<std::uint64_t> pending, Time now);
  // To be called every second or so.
  void on_time(Time now);

 private:
  void note_time(Time now);

  std::uint64_t newest_ = 0;
  std::uint64_t under_way_ = 0;
  Time sent_;              // when the newest was
  bool brought_ = false;   // messages came since then
  bool answered_ = false;  // or its end
  bool next_is_large_ = false;
  std::optional<Time> silent_since_;
};

}  // namespace postrider
