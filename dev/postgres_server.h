// One private PostgreSQL cluster. Not thread-safe. Errors are std::runtime_error with the end of
// the server's log. The server outlives the object: stop it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dev/process.h"

namespace postrider::dev {

// Folder of the newest installed server's programs, or $POSTRIDER_PG_BINDIR.
[[nodiscard]] std::filesystem::path postgres_programs();

// How a server is asked to stop; the values are PostgreSQL's own terms.
enum class Shutdown { kFast, kImmediate, kKill };

class PostgresServer {
 public:
  struct Options {
    std::filesystem::path data;    // made by initialise(), mode 0700, owned by the server's user
    std::filesystem::path socket;  // folder of the Unix socket
    std::filesystem::path log;
    std::uint16_t port = 0;
    std::vector<std::string> settings;  // lines for postgresql.conf
    std::vector<std::string> hba;       // lines for pg_hba.conf; empty: trust on the socket alone
  };

  explicit PostgresServer(Options options);

  [[nodiscard]] bool initialised() const;
  // initdb with superuser `postgres`, then the settings. Throws when `data` exists.
  void initialise();
  // Starts it and waits until it accepts connections.
  void start(milliseconds limit = milliseconds{60'000});
  // False when it still runs after `limit`. True when it did not run.
  [[nodiscard]] bool stop(Shutdown how, milliseconds limit = milliseconds{60'000});
  // The postmaster's, while it runs.
  [[nodiscard]] std::optional<pid_t> pid() const;
  [[nodiscard]] bool accepts_connections() const;

  // libpq conninfo over the Unix socket.
  [[nodiscard]] std::string conninfo(const std::string& user, const std::string& database) const;
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  Options options_;
  std::optional<User> user_;
};

// Runs statements on a connection of its own, one after another, outside a transaction.
void execute(const std::string& conninfo, const std::vector<std::string>& statements);

}  // namespace postrider::dev
