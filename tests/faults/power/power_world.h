// A world whose two servers stand on volumes of their own, so that their power can be cut, with
// writers that never stop but when asked. The relay runs with the released settings.
//
// Every wait has a deadline; std::runtime_error says what did not come.
#pragma once

#include <memory>
#include <string>

#include "tests/faults/power/filler.h"
#include "tests/faults/power/schedule.h"
#include "tests/faults/power/volume.h"
#include "tests/support/world.h"

namespace postrider::test {

struct PowerOptions {
  std::filesystem::path images;             // folder for the images
  std::chrono::seconds commit_interval{0};  // of ext4
  std::string confirm;                      // relay.confirm
  std::chrono::seconds sync_interval{0};    // the server's own; and relay.broker_sync_interval
  std::uint64_t seed = 0;
};

// One cut and what it did. Ordinals are sequences here: nobody else publishes.
struct Outcome {
  std::uint64_t acknowledged = 0;  // ordinal of the newest acknowledged message at the cut
  std::uint64_t confirmed = 0;     // durable by the checkpoint row at the cut
  std::uint64_t kept = 0;          // of them in the stream when the broker was back
  Filler::Vanished vanished;       // commits that PostgreSQL reported and then did not have
  double back_seconds = 0;  // from the servers' start until all `acknowledged` were there again
  std::optional<int> relay_ended;  // exit status, when the relay did not go on

  [[nodiscard]] std::uint64_t destroyed() const {
    return acknowledged > kept ? acknowledged - kept : 0;
  }
  // Confirmed to PostgreSQL and gone from the stream.
  [[nodiscard]] std::uint64_t lost() const { return confirmed > kept ? confirmed - kept : 0; }
};

class PowerWorld : public World {
 public:
  explicit PowerWorld(PowerOptions options);
  ~PowerWorld() override;

  [[nodiscard]] Outcome play(const Round& round);
  // Stops the writers, waits for the last event and compares the whole stream.
  [[nodiscard]] Verdict judge();
  [[nodiscard]] std::string relay_log() const { return relay_->log(); }

 private:
  void TestBody() override {}

  void start_writers();
  void stop_writers();
  void start_relay_process();
  // The relay's metric `postrider_ordinal`: the newest acknowledged message.
  [[nodiscard]] std::uint64_t acknowledged();
  // By the checkpoint row.
  [[nodiscard]] std::uint64_t confirmed();
  // Waits until so many are acknowledged; writes more when the relay has nothing to do.
  void wait_for_acknowledged(std::uint64_t ordinal);
  void wait_for_confirmed(std::uint64_t ordinal);
  void wait_for_all_published();
  void keep_filling();
  void start_broker();
  // The broker's timer runs from its start, or from the stream's making soon after.
  void wait_for_sync(std::chrono::milliseconds after);
  // Messages that the broker stored before `time` and still holds; the relay may be at work.
  [[nodiscard]] std::uint64_t kept_since_before(const std::string& time);
  void require_relay() const;

  PowerOptions options_;
  std::uint16_t http_port_;
  std::unique_ptr<Volume> broker_;
  std::unique_ptr<Volume> source_;
  std::unique_ptr<Filler> filler_;
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<RelayProcess> relay_;
  int relays_ = 0;
  std::chrono::steady_clock::time_point broker_started_;
};

}  // namespace postrider::test
