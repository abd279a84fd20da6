#include "tests/faults/campaign/injector.h"

#include <signal.h>

#include "tests/faults/campaign/inject.h"
#include "tests/faults/campaign/store_copy.h"

namespace postrider::campaign {

void Injector::run_source(const Step& step) {
  auto& server = world_.source();
  const auto superuser = world_.source_conninfo("postgres");
  switch (step.kind) {
    case Kind::kSourceKill:
      must(server.stop(dev::Shutdown::kKill), "the source survives SIGKILL");
      strike(step.also == Kind::kSourceKill ? Kind::kNone : step.also);
      server.start();
      break;
    case Kind::kSourceRestart:
      must(server.stop(dev::Shutdown::kFast), "the source does not stop");
      strike(step.also == Kind::kSourceKill ? Kind::kNone : step.also);
      server.start();
      break;
    case Kind::kSourceBackendKill: {
      const auto pid = Sql(superuser).value(
          "SELECT pid FROM pg_stat_activity WHERE usename = 'app' ORDER BY pid LIMIT 1");
      if (!pid.empty()) ::kill(std::stoi(pid), SIGKILL);
      strike(step.also);
      // The server ends all others, recovers, and is there again by itself.
      must(dev::wait_until([&] { return server.accepts_connections(); }, kPatience),
           "the source does not come back");
      break;
    }
    case Kind::kSourceBackends:
      try_sql(superuser, kEndClients);
      strike(step.also);
      break;
    default:
      for (int times = 0; times < 3; ++times) {
        try_sql(superuser, kEndWalsender);
        strike(times == 1 ? step.also : Kind::kNone);
        (void)let_arrive(step.amount / 4);
      }
      break;
  }
}

void Injector::run_target(const Step& step) {
  auto& server = world_.target();
  const auto superuser = world_.target_conninfo("postgres");
  switch (step.kind) {
    case Kind::kTargetKill:
      must(server.stop(dev::Shutdown::kKill), "the target survives SIGKILL");
      let_write(step);
      server.start();
      break;
    case Kind::kTargetBackends:
      try_sql(superuser, kEndClients);
      strike(step.also);
      break;
    default: {
      Sql sql(superuser);
      sql.run("BEGIN; LOCK TABLE tally, account IN ACCESS EXCLUSIVE MODE");
      let_write(step);
      try {
        sql.run("COMMIT");
      } catch (const SqlError&) {  // the second fault ended it
      }
      break;
    }
  }
}

void Injector::run_broker(const Step& step) {
  auto& server = world_.broker();
  switch (step.kind) {
    case Kind::kBrokerKill:
    case Kind::kBrokerRestart:
      must(server.stop(step.kind == Kind::kBrokerKill), "the broker does not stop");
      let_write(step);
      server.start();
      break;
    case Kind::kBrokerPause: {
      const auto pid = server.pid();
      must(pid.has_value(), "the broker does not run");
      ::kill(*pid, SIGSTOP);
      let_write(step);
      ::kill(*pid, SIGCONT);
      break;
    }
    default:
      forget_tail(step.amount);
      break;
  }
}

// What was acknowledged since the copy is gone, as after a power loss before the broker's sync. It
// is put back while nothing of it can be confirmed: the relays were told kBrokerSync.
void Injector::forget_tail(std::uint64_t amount) {
  auto& server = world_.broker();
  must(server.stop(), "the broker does not stop");
  const StoreCopy copy(server.store(), world_.folder() / "store-copy");
  server.start();
  const auto deadline = std::chrono::steady_clock::now() + kBrokerSync * 6 / 10;
  const auto enough = published_ + amount;
  (void)dev::wait_until(
      [&] { return published_ >= enough || std::chrono::steady_clock::now() > deadline; },
      kBrokerSync);
  must(server.stop(/*kill=*/true), "the broker survives SIGKILL");
  copy.put_back();
  server.start();
}

}  // namespace postrider::campaign
