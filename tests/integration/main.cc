// Starts one PostgreSQL cluster, runs the tests in a child process, and stops the cluster by its
// pid however the child ended: also when it crashed or was interrupted.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <stdexcept>

#include "dev/ports.h"
#include "dev/postgres_server.h"
#include "service_database.h"

namespace {

namespace fs = std::filesystem;
using postrider::dev::PostgresServer;

fs::path make_folder() {
  char name[] = "/tmp/postrider-sql.XXXXXX";
  if (!::mkdtemp(name)) throw std::runtime_error("cannot make a folder in /tmp");
  // PostgreSQL runs as another user when we are root.
  fs::permissions(name, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  return name;
}

PostgresServer::Options options_in(const fs::path& folder) {
  PostgresServer::Options options;
  options.data = folder / "data";
  options.socket = folder / "socket";
  options.log = folder / "log";
  options.port = postrider::dev::free_port();
  options.settings = {
      "listen_addresses = ''",         "wal_level = logical", "max_replication_slots = 20",
      "max_prepared_transactions = 5", "fsync = off",         "shared_buffers = 32MB"};
  return options;
}

// The child's exit status; 128 + n when signal n ended it, or ended us.
int wait_for(pid_t child, const sigset_t& signals) {
  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    int status = 0;
    if (signal == SIGCHLD) {
      if (::waitpid(child, &status, WNOHANG) != child) continue;  // it was the server
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return 128 + signal;
  }
}

int run_with_server(const fs::path& folder) {
  PostgresServer server(options_in(folder));
  server.initialise();
  server.start();
  int status = 1;
  try {
    postrider::testing::make_roles(server);
    postrider::testing::use_server(server);
    sigset_t signals, before;
    sigemptyset(&signals);
    for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
    ::sigprocmask(SIG_BLOCK, &signals, &before);
    const pid_t child = ::fork();
    if (child == 0) {
      ::sigprocmask(SIG_SETMASK, &before, nullptr);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::exit(RUN_ALL_TESTS());
    }
    status = child < 0 ? 1 : wait_for(child, signals);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
  }
  if (!server.stop(postrider::dev::Shutdown::kImmediate)) {
    std::cerr << "the server in " << folder << " does not stop\n";
    return 1;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) try {
  testing::InitGoogleTest(&argc, argv);
  if (testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  const fs::path folder = make_folder();
  const int status = run_with_server(folder);
  fs::remove_all(folder);
  return status;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
