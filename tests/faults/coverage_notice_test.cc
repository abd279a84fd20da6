// What the relay announces over core NATS: soon, and never more than is true.
#include <libpq-fe.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "tests/support/tcp_proxy.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience{30'000};

std::uint64_t lsn_of(const std::string& text) {
  const auto slash = text.find('/');
  return (std::stoull(text.substr(0, slash), nullptr, 16) << 32U) |
         std::stoull(text.substr(slash + 1), nullptr, 16);
}

// "system:timeline:lsn" of outbox.token().
struct Token {
  std::string system_id;
  std::uint64_t timeline = 0;
  std::uint64_t lsn = 0;
};
Token token_of(const std::string& text) {
  const auto first = text.find(':');
  const auto second = text.find(':', first + 1);
  return {text.substr(0, first), std::stoull(text.substr(first + 1, second - first - 1)),
          lsn_of(text.substr(second + 1))};
}

// "v1 system timeline lsn incarnation ordinal position epoch".
struct Notice {
  std::string system_id;
  std::uint64_t timeline = 0;
  std::uint64_t lsn = 0;
  std::string incarnation;
  std::uint64_t ordinal = 0;
  std::string position;
};
Notice notice_of(const std::string& text) {
  std::istringstream words(text);
  Notice notice;
  std::string version;
  std::string lsn;
  int epoch = -1;
  words >> version >> notice.system_id >> notice.timeline >> lsn >> notice.incarnation >>
      notice.ordinal >> notice.position >> epoch;
  EXPECT_TRUE(version == "v1" && epoch >= 0) << text;
  notice.lsn = lsn_of(lsn);
  return notice;
}

bool covers(const Notice& notice, const Token& token) {
  return notice.system_id == token.system_id && notice.timeline == token.timeline &&
         notice.lsn >= token.lsn;
}

class CoverageNotice : public World {
 protected:
  CoverageNotice() : proxy_(nats_.options().port), listener_(nats_.options().port) {
    listener_.subscribe("POSTRIDER.covered.*");
  }

  Settings through_proxy() {
    auto settings = unconfirmed();
    settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy_.port()) + "\"";
    return settings;
  }
  Token token() { return token_of(app_sql("SELECT outbox.token()")); }
  std::optional<Notice> next(milliseconds limit) {
    const auto message = listener_.next(limit);
    if (!message) return std::nullopt;
    EXPECT_EQ(message->subject, "POSTRIDER.covered.shop");
    // A relay tries its right to publish with this word before it starts.
    if (message->data == "check") return next(limit);
    return notice_of(message->data);
  }
  // The first notice from now on that covers it.
  std::optional<Notice> wait_for(const Token& token, milliseconds limit = kPatience) {
    const auto deadline = steady_clock::now() + limit;
    while (steady_clock::now() < deadline) {
      auto notice = next(std::chrono::ceil<milliseconds>(deadline - steady_clock::now()));
      if (notice && covers(*notice, token)) return notice;
    }
    return std::nullopt;
  }

  TcpProxy proxy_;
  NatsClient listener_;
};

TEST_F(CoverageNotice, CoversAnEventSoonAfterItsCommit) {
  const auto relay = start_relay();
  for (std::uint64_t n = 1; n <= 3; ++n) {
    app_sql("SELECT outbox.emit('a', '1')");
    const auto notice = wait_for(token());
    ASSERT_TRUE(notice) << relay->log();
    EXPECT_EQ(notice->ordinal, n);
  }
  ASSERT_TRUE(wait_for_seq(3));
  auto client = nats_client();
  const auto last = client.read_stream(kStream).back();
  std::istringstream words(last.header("Postrider-Position").value_or(""));
  std::string version, ordinal, position;
  words >> version >> ordinal >> position;
  const auto notice = wait_for(token());
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->position, position);
  EXPECT_EQ(notice->incarnation, client.api("STREAM.INFO.SHOP")["created"].get<std::string>());
}

TEST_F(CoverageNotice, GoesOnWhileOnlyOthersWrite) {
  sql("CREATE TABLE busy (t text)");
  sql("CREATE DATABASE other");
  const auto other = postgres_.conninfo("postgres", "other");
  dev::execute(other, {"CREATE TABLE busy (t text)"});
  const auto relay = start_relay();
  const auto idle = wait_for(token());
  ASSERT_TRUE(idle) << relay->log();
  EXPECT_EQ(idle->ordinal, 0U);
  EXPECT_EQ(idle->position, "-");
  app_sql("SELECT outbox.emit('a', '1')");
  for (int round = 0; round < 5; ++round) {
    sql("INSERT INTO busy VALUES (repeat('x', 3000))");
    const auto table = wait_for(token());
    ASSERT_TRUE(table) << relay->log();
    EXPECT_EQ(table->ordinal, 1U);
    dev::execute(other, {"INSERT INTO busy VALUES (repeat('x', 3000))"});
    const auto database = wait_for(token());
    ASSERT_TRUE(database) << relay->log();
    EXPECT_EQ(database->ordinal, 1U);
  }
  EXPECT_EQ(last_seq(), 1U);
}

// A transaction that stays open writes WAL that nobody flushes; the token may lie behind it.
TEST_F(CoverageNotice, DoesNotWaitForTheCommitOfOthers) {
  catch_up(unconfirmed());
  const auto relay = start_relay(unconfirmed());  // whose confirmations are commits, too
  sql("CREATE TABLE busy (t text)");
  const std::unique_ptr<PGconn, decltype(&PQfinish)> open(PQconnectdb(superuser().c_str()),
                                                          &PQfinish);
  for (const auto* statement : {"BEGIN", "INSERT INTO busy VALUES ('warm')"})
    PQclear(PQexec(open.get(), statement));
  for (int round = 0; round < 3; ++round) {
    app_sql("SELECT outbox.emit('a', '1')");
    PQclear(PQexec(open.get(), "INSERT INTO busy VALUES ('x')"));
    // wal_writer_delay is 200 ms; without the token's own record it is 15 s, or never.
    ASSERT_TRUE(wait_for(token(), milliseconds{3000})) << relay->log();
  }
}

TEST_F(CoverageNotice, IsRepeatedForThoseWhoSubscribeLate) {
  const auto relay = start_relay();
  app_sql("SELECT outbox.emit('a', '1')");
  const auto covered = token();
  ASSERT_TRUE(wait_for(covered)) << relay->log();
  auto late = nats_client();
  late.subscribe("POSTRIDER.covered.shop");
  const auto message = late.next(kPatience);
  ASSERT_TRUE(message) << relay->log();
  EXPECT_TRUE(covers(notice_of(message->data), covered));
}

TEST_F(CoverageNotice, IsSilentWhenSwitchedOff) {
  auto settings = quick();
  settings["relay.announce"] = "false";
  const auto relay = start_relay(settings);
  app_sql("SELECT outbox.emit('a', '1')");
  ASSERT_TRUE(wait_for_seq(1)) << relay->log();
  EXPECT_FALSE(listener_.next(milliseconds{1500}));
}

// The one that matters: an event is received and sent, and the broker has not acknowledged it, nor
// even stored it. A notice that reaches beyond it must name it.
TEST_F(CoverageNotice, NeverLetsAReaderPastAnEventInFlight) {
  const auto relay = start_relay(through_proxy());
  app_sql("SELECT outbox.emit('a', '1')");
  ASSERT_TRUE(wait_for(token())) << relay->log();
  ASSERT_TRUE(wait_for_seq(1));
  auto client = nats_client();
  const auto config = client.api("STREAM.INFO.SHOP")["config"];
  auto full = config;
  full["max_msgs"] = 1;
  client.api("STREAM.UPDATE.SHOP", full);
  proxy_.drop_answers(true);
  app_sql("SELECT outbox.emit('b', '2')");
  const auto event = token();
  // Others go on writing, so that the server tells ever later places.
  int covering = 0;
  for (int round = 0; round < 20; ++round) {
    sql("SELECT pg_logical_emit_message(true, 'nobody', '')");
    const auto later = token();
    const auto deadline = steady_clock::now() + kPatience;
    std::optional<Notice> notice;
    do {
      notice = wait_for(event);
      ASSERT_TRUE(notice) << relay->log();
      EXPECT_GE(notice->ordinal, 2U) << "round " << round;
      ++covering;
    } while (!covers(*notice, later) && steady_clock::now() < deadline);
  }
  EXPECT_GE(covering, 20);
  ASSERT_EQ(last_seq(), 1U) << "the test should have kept the event out of the stream";
  client.api("STREAM.UPDATE.SHOP", config);
  proxy_.reset_connections();
  proxy_.drop_answers(false);
  ASSERT_TRUE(wait_for_seq(2)) << relay->log();
  const auto healed = wait_for(token());
  ASSERT_TRUE(healed) << relay->log();
  EXPECT_EQ(healed->ordinal, 2U);
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

// Every notice of a stormy run against the stream as it is in the end.
TEST_F(CoverageNotice, IsTrueOfTheWholeStreamThroughCrashesAndLostAnswers) {
  catch_up(through_proxy());
  Workload workload(writers());
  auto relay = start_relay(through_proxy());
  std::vector<Notice> notices;
  const auto listen = [&](std::uint64_t until) {
    while (last_seq() < until)
      while (const auto notice = next(milliseconds{50})) notices.push_back(*notice);
  };
  for (int round = 0; round < 4; ++round) {
    const auto dropped = proxy_.dropped_bytes();
    listen(last_seq() + 300);
    proxy_.drop_answers(true);
    ASSERT_TRUE(
        dev::wait_until([&] { return proxy_.dropped_bytes() > dropped + 2000; }, kPatience));
    if (round % 2 == 0) {
      relay->kill();
      relay = start_relay(through_proxy());
    }
    proxy_.reset_connections();
    proxy_.drop_answers(false);
  }
  listen(last_seq() + 100);
  // Enough of them to judge by, however slow the machine is.
  constexpr std::size_t kEnough = 50;
  const auto end = steady_clock::now() + kPatience;
  while (notices.size() <= kEnough && steady_clock::now() < end)
    if (const auto notice = next(milliseconds{50})) notices.push_back(*notice);
  workload.stop();
  relay->kill();
  catch_up(through_proxy());
  while (const auto notice = next(milliseconds{50})) notices.push_back(*notice);

  std::map<std::uint64_t, std::string> positions;
  auto client = nats_client();
  for (const auto& message : client.read_stream(kStream)) {
    std::istringstream words(message.header("Postrider-Position").value_or(""));
    std::string version, position;
    std::uint64_t ordinal = 0;
    words >> version >> ordinal >> position;
    positions[ordinal] = position;
  }
  EXPECT_GT(notices.size(), kEnough);
  for (const auto& notice : notices) {
    EXPECT_EQ(notice.ordinal == 0 ? "-" : positions[notice.ordinal], notice.position);
    const auto next = positions.find(notice.ordinal + 1);
    if (next == positions.end()) continue;
    // "timeline/lsn/index", of fixed width.
    EXPECT_GE(std::stoull(next->second.substr(9, 16), nullptr, 16), notice.lsn)
        << "ordinal " << next->first << " was missed by the notice of " << notice.ordinal;
  }
}

TEST_F(CoverageNotice, FollowsAnIdleCommitWithinMilliseconds) {
  const auto relay = start_relay();
  app_sql("SELECT outbox.emit('a', '1')");
  ASSERT_TRUE(wait_for(token())) << relay->log();
  const std::unique_ptr<PGconn, decltype(&PQfinish)> app(PQconnectdb(conninfo("app").c_str()),
                                                         &PQfinish);
  std::vector<double> milliseconds_taken;
  for (int round = 0; round < 300; ++round) {
    // Idle before each commit: more than the notices' interval has passed.
    while (next(milliseconds{15})) {
    }
    PQclear(PQexec(app.get(), "SELECT outbox.emit('a', '1')"));
    const auto committed = steady_clock::now();
    const std::unique_ptr<PGresult, decltype(&PQclear)> answer(
        PQexec(app.get(), "SELECT outbox.token()"), &PQclear);
    ASSERT_TRUE(wait_for(token_of(PQgetvalue(answer.get(), 0, 0)))) << relay->log();
    milliseconds_taken.push_back(
        std::chrono::duration<double, std::milli>(steady_clock::now() - committed).count());
  }
  std::ranges::sort(milliseconds_taken);
  const auto at = [&](double share) {
    return milliseconds_taken[static_cast<std::size_t>(share *
                                                       double(milliseconds_taken.size() - 1))];
  };
  RecordProperty("p50_us", static_cast<int>(1000 * at(0.5)));
  RecordProperty("p99_us", static_cast<int>(1000 * at(0.99)));
  RecordProperty("max_us", static_cast<int>(1000 * at(1)));
  // Room for a busy machine; a notice that had to wait for a timer would take a second or three.
  EXPECT_LT(at(0.5), 100);
  EXPECT_LT(at(0.95), 500);
}

}  // namespace
}  // namespace postrider::test
