// What must be in the stream, worked out from the committed transactions alone. Shares no code with
// the relay: it writes and reads the documented formats itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulator/model_jetstream.h"
#include "tests/simulator/model_postgres.h"

namespace postrider::sim {

// The settings that decide what is carried, and how.
struct Settings {
  bool message_id = true;
  bool wal_store = false;
  bool captures = false;
  bool cloud_events = false;  // binary mode

  friend bool operator==(const Settings&, const Settings&) = default;
};

class Oracle {
 public:
  Oracle(const ModelPostgres& postgres, const ModelJetStream& broker)
      : postgres_(postgres), broker_(broker) {}

  // What it found wrong first; empty: nothing.
  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  void complain(const std::string& what);

  // A relay wrote its settings into the row: they hold from `from` on, unless they held already.
  void on_settings(const Settings& settings, Lsn from);
  // The server sees a publish, and stores it at `seq` unless that is 0: an ordinal's content never
  // changes, and its sequence is the ordinal, since nobody else publishes.
  void on_publish(const Publish& publish, std::uint64_t seq);
  // The slot is about to be told `confirmed`.
  void on_status(Lsn confirmed);
  // Events that were durable have been destroyed, beyond what the operator stated.
  void on_destruction() { destroyed_ = true; }
  [[nodiscard]] bool destroyed() const { return destroyed_; }

  // How many messages all committed transactions make; `before`: those that commit before it.
  [[nodiscard]] std::uint64_t expected(Lsn before = Lsn{~0ULL});
  // True when the stream holds as many.
  [[nodiscard]] bool complete();
  // Compares the whole stream.
  void check_stream();

 private:
  struct Expected {
    Lsn commit_lsn;
    Publish message;
  };
  struct OpenedEpoch {
    std::uint32_t number = 0;
    Lsn from;
    Settings settings;
  };
  void extend();
  void add(const Transaction& transaction);

  const ModelPostgres& postgres_;
  const ModelJetStream& broker_;
  std::string complaint_;
  bool destroyed_ = false;
  std::vector<OpenedEpoch> epochs_;
  std::vector<Expected> expected_;
  std::size_t known_ = 0;  // transactions in expected_
  std::map<std::uint64_t, std::pair<std::string, std::string>> by_ordinal_;
};

}  // namespace postrider::sim
