// One private nats-server with JetStream. Not thread-safe. Errors are std::runtime_error with the
// end of the server's log. The server outlives the object: stop it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dev/process.h"

namespace postrider::dev {

// nats-server in PATH or /usr/sbin, or $POSTRIDER_NATS_SERVER.
[[nodiscard]] std::string nats_program();

class NatsServer {
 public:
  struct Options {
    std::filesystem::path folder;  // store, configuration, pid and log live in it
    std::uint16_t port = 0;
    std::vector<std::string> settings;            // further lines for the configuration
    std::vector<std::string> jetstream_settings;  // further lines for its jetstream block
  };

  explicit NatsServer(Options options) : options_(std::move(options)) {}

  // Writes the configuration, starts it, and waits until it greets and JetStream is on.
  void start(milliseconds limit = milliseconds{30'000});
  // Writes the configuration as the options are now, and waits until the running server has read
  // it.
  void reload(milliseconds limit = milliseconds{30'000});
  // SIGTERM, or SIGKILL. False when it still runs after `limit`. True when it did not run.
  [[nodiscard]] bool stop(bool kill = false, milliseconds limit = milliseconds{30'000});
  [[nodiscard]] std::optional<pid_t> pid() const;

  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::filesystem::path store() const { return options_.folder / "store"; }
  [[nodiscard]] const Options& options() const { return options_; }
  Options& options() { return options_; }

 private:
  void write_configuration() const;
  [[nodiscard]] bool greets() const;

  Options options_;
};

}  // namespace postrider::dev
