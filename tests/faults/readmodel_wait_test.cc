// Read your writes, from a commit in the source to a read of the read model.
#include <algorithm>

#include "tests/support/readmodel_world.h"
#include "tests/support/tcp_proxy.h"

namespace postrider::test {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
constexpr milliseconds kPatience{60'000};

class ReadYourWrites : public ReadModelWorld {
 protected:
  std::string transfer_and_token() {
    sql("SELECT transfer('h1', 'h2', 1, 'table')");
    return app_sql("SELECT outbox.token()");
  }
  // As a reader in the target.
  bool wait_for(const std::string& token, const std::string& timeout = "20 seconds") {
    return reader("SELECT postrider.wait_for('" + token + "', '" + timeout + "')") == "t";
  }
  std::string balance() { return reader("SELECT balance FROM account WHERE key = 'h2'"); }
  std::string reader(const std::string& statement) {
    return query(target_conninfo("app"), statement);
  }
};

TEST_F(ReadYourWrites, AreSeenAsSoonAsTheWaitReturnsAndAnIdleSourceMakesNobodyWait) {
  const auto relay = start_relay(quick());
  const auto applier = start_applier();
  ASSERT_TRUE(wait_for(transfer_and_token())) << applier->log() << relay->log();
  std::vector<double> waits;
  constexpr int kTimes = 100;
  for (int i = 2; i <= kTimes; ++i) {
    const auto token = transfer_and_token();
    const auto committed = Clock::now();
    ASSERT_TRUE(wait_for(token)) << i;
    waits.push_back(std::chrono::duration<double, std::milli>(Clock::now() - committed).count());
    ASSERT_EQ(balance(), std::to_string(i));
  }
  std::ranges::sort(waits);
  std::cout << "commit to return: p50 " << waits[waits.size() / 2] << " ms, p99 "
            << waits[waits.size() * 99 / 100] << " ms\n";
  // Nothing but other tables' WAL: the token lies behind the last event, and none follows it.
  for (int i = 0; i < 20; ++i) {
    sql("UPDATE holder SET cents = cents");
    ASSERT_TRUE(wait_for(app_sql("SELECT outbox.token()"))) << i;
  }
}

// The relay has received the event and cannot publish it: a reader that waits for it is not let
// through by what the relay announces meanwhile.
TEST_F(ReadYourWrites, AnEventThatIsNotAcknowledgedYetLetsNobodyThrough) {
  TcpProxy proxy(nats_.options().port);
  auto settings = quick();
  settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy.port()) + "\"";
  settings["relay.ack_timeout"] = "\"30s\"";
  const auto relay = start_relay(settings);
  const auto applier = start_applier();
  ASSERT_TRUE(wait_for(transfer_and_token())) << applier->log() << relay->log();
  proxy.drop_answers(true);
  proxy.hold_requests(true);
  const auto token = transfer_and_token();
  ASSERT_TRUE(dev::wait_until([&] { return proxy.held_bytes() > 0; }, kPatience));
  sql("UPDATE holder SET cents = cents");  // more WAL, more to announce
  EXPECT_FALSE(wait_for(token, "2 seconds"));
  EXPECT_EQ(balance(), "1");
  proxy.drop_answers(false);
  proxy.hold_requests(false);
  EXPECT_TRUE(wait_for(token)) << relay->log();
  EXPECT_EQ(balance(), "2");
}

TEST_F(ReadYourWrites, WaitForAReadModelThatIsBehind) {
  const auto relay = start_relay(quick());
  auto applier = start_applier();
  ASSERT_TRUE(wait_for(transfer_and_token()));
  applier->kill();
  const auto token = transfer_and_token();
  EXPECT_FALSE(wait_for(token, "500 milliseconds"));
  applier = start_applier();
  EXPECT_TRUE(wait_for(token)) << applier->log();
  EXPECT_EQ(balance(), "2");
}

}  // namespace
}  // namespace postrider::test
