// What the relay may announce beside the stream, and when: up to which LSN nothing follows the
// newest message. Pure: time comes in as an argument.
//
// The rule: a keepalive tells LSN x outside a transaction; n is the last ordinal assigned before it
// (sent, not merely acknowledged, or recognised in the stream). Frames come in the order of
// commits, so every event that commits before x has come and has an ordinal of n or less. The pair
// (n, x) is taken together and stays true for ever: later events lie beyond x, and whoever
// publishes ordinal n again publishes the same message. An *acknowledged* ordinal would be wrong:
// an event in flight would lie before x with an ordinal above n, and a reader at n would be let
// through without it.
#pragma once

#include <chrono>
#include <optional>

#include "postrider/lsn.h"
#include "relay/progress/mark.h"

namespace postrider {

class Announcer {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Nothing of the source follows `newest` up to `lsn`.
  struct Claim {
    Lsn lsn;
    Mark newest;

    friend bool operator==(const Claim&, const Claim&) = default;
  };

  // `mark` is the stream's newest message at session start.
  explicit Announcer(const Mark& mark) : newest_(mark) {}

  // An event has its ordinal: it is about to be sent, or the stream was found to hold it.
  void on_assigned(const Mark& mark) { newest_ = mark; }
  // The server has sent everything that commits before `end`. Only outside a transaction, and only
  // while nothing is left to be recognised.
  void on_caught_up(Lsn end);

  // What to announce at `now`, and takes it as announced: a new claim at most every kInterval, the
  // last one again every kRepeat, since core NATS keeps nothing for those who subscribe late.
  [[nodiscard]] std::optional<Claim> take_due(Time now);
  // When take_due() will have something; nothing before the first claim.
  [[nodiscard]] std::optional<Time> next_due() const;

  static constexpr std::chrono::milliseconds kInterval{10};
  static constexpr std::chrono::milliseconds kRepeat{1000};

 private:
  Mark newest_;
  std::optional<Claim> claim_;
  bool announced_ = false;  // the claim has been announced once
  Time last_;               // the last announcement; long ago at first
};

}  // namespace postrider
