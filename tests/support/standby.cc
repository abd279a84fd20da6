#include "tests/support/standby.h"

#include <signal.h>

#include <fstream>
#include <functional>
#include <stdexcept>

#include "dev/ports.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace fs = std::filesystem;
namespace {

constexpr dev::milliseconds kPatience{60'000};

dev::PostgresServer::Options options_in(const dev::PostgresServer& primary,
                                        const fs::path& folder) {
  dev::PostgresServer::Options options;
  options.data = folder / "data";
  options.socket = primary.options().socket;  // told apart by their ports
  options.log = folder / "postgres.log";
  options.port = dev::free_port();
  return options;
}

void wait_for(const std::string& what, const std::function<bool()>& condition) {
  if (!dev::wait_until(condition, kPatience)) throw std::runtime_error("the standby: " + what);
}

}  // namespace

Standby::Standby(dev::PostgresServer& primary, fs::path folder, std::string database)
    : primary_(primary),
      folder_(std::move(folder)),
      database_(std::move(database)),
      server_(options_in(primary, folder_)) {
  const auto data = server_.options().data;
  fs::create_directories(folder_);
  fs::permissions(folder_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  if (!primary_.stop(dev::Shutdown::kFast)) throw std::runtime_error("the primary does not stop");
  if (dev::run(
          {{"cp", "-a", primary_.options().data.string(), data.string()}, {}, {}, {}, false}) != 0)
    throw std::runtime_error("cannot copy the primary's data");
  // A base backup leaves the primary's slots out.
  for (const auto& slot : fs::directory_iterator(data / "pg_replslot")) fs::remove_all(slot.path());
  primary_.start();
  ask(primary_, std::string("SELECT pg_create_physical_replication_slot('") + kSlot + "', true)");
  {
    std::ofstream settings(data / "postgresql.conf", std::ios::app);
    settings << "port = " << server_.options().port << "\nhot_standby_feedback = on\n"
             << "wal_receiver_status_interval = 1s\nprimary_slot_name = '" << kSlot
             << "'\nprimary_conninfo = '" << primary_.conninfo("postgres", database_) << "'\n";
    std::ofstream signal(data / "standby.signal");
  }
  server_.start();
  wait_until_caught_up();
}

Standby::~Standby() {
  if (held_ != 0) ::kill(held_, SIGKILL);
  (void)server_.stop(dev::Shutdown::kImmediate);
}

std::string Standby::ask(const dev::PostgresServer& server, const std::string& statement) const {
  return query(server.conninfo("postgres", database_), statement);
}

std::string Standby::writable_conninfo(const std::string& user, const std::string& database) const {
  const auto& socket = primary_.options().socket.string();
  return "host=" + socket + "," + socket + " port=" + std::to_string(primary_.options().port) +
         "," + std::to_string(server_.options().port) + " user=" + user + " dbname=" + database +
         " target_session_attrs=read-write";
}

void Standby::wait_until_caught_up() {
  const auto flushed = ask(primary_, "SELECT pg_current_wal_flush_lsn()");
  wait_for("does not catch up", [&] {
    return ask(server_, "SELECT coalesce(pg_last_wal_replay_lsn() >= '" + flushed + "', false)") ==
           "t";
  });
}

void Standby::hold_back() {
  const auto pid = ask(primary_, std::string("SELECT coalesce(active_pid, 0) FROM "
                                             "pg_replication_slots WHERE slot_name = '") +
                                     kSlot + "'");
  held_ = std::stoi(pid);
  if (held_ == 0) throw std::runtime_error("nothing feeds the standby");
  ::kill(held_, SIGSTOP);
}

void Standby::let_go() {
  if (held_ != 0) ::kill(held_, SIGCONT);
  held_ = 0;
}

void Standby::follow_slots(bool follow) {
  ask(server_, std::string("ALTER SYSTEM SET sync_replication_slots = ") + (follow ? "on" : "off"));
  ask(server_, "SELECT pg_reload_conf()");
  wait_for("slots are followed, or not", [&] {
    return ask(server_,
               "SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
               "'slotsync worker'") == (follow ? "1" : "0");
  });
}

bool Standby::has_slot(const std::string& slot) {
  // A slot can be kept from the first such record on that its reader has passed; a server writes
  // one every 15 seconds.
  ask(primary_, "SELECT pg_log_standby_snapshot()");
  return ask(server_, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '" + slot +
                          "' AND synced AND NOT temporary") == "1";
}

void Standby::follow_slots_once() {
  ask(server_, "SELECT pg_sync_replication_slots()");
}

void Standby::replace_primary() {
  if (!primary_.stop(dev::Shutdown::kKill)) throw std::runtime_error("the primary does not end");
  held_ = 0;
  ask(server_, "SELECT pg_promote()");
  wait_for("is not promoted", [&] { return ask(server_, "SELECT pg_is_in_recovery()") == "f"; });
}

}  // namespace postrider::test
