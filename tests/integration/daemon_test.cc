// The program as an operator meets it: exit codes, health, metrics, status, tail, draining.
#include <libpq-fe.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dev/ports.h"
#include "tests/support/loopback.h"
#include "tests/support/tcp_proxy.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPatience{30'000};

struct HttpAnswer {
  int status = 0;
  std::string body;
};

HttpAnswer get(std::uint16_t port, const std::string& path) {
  const auto answer = http_get(port, path);
  if (answer.size() < 12) return {};
  const auto body = answer.find("\r\n\r\n");
  return {std::stoi(answer.substr(9, 3)), answer.substr(body + 4)};
}

class Daemon : public World {
 protected:
  Settings with_http() {
    auto settings = quick();
    settings["http.listen"] = "\"127.0.0.1:" + std::to_string(port_) + "\"";
    settings["relay.stall_after"] = "\"5s\"";
    return settings;
  }
  bool ready() { return get(port_, "/readyz").status == 200; }
  double metric(const std::string& name) {
    const auto value = test::metric(port_, name);
    if (!value) ADD_FAILURE() << "no metric " << name;
    return value.value_or(-1);
  }
  void emit(int events) {
    app_sql(
        "SELECT count(outbox.emit('e.'||g, to_jsonb(g), key => 'k'||g)) FROM "
        "generate_series(1, " +
        std::to_string(events) + ") g");
  }
  std::string config() { return write_config(quick(), "command").string(); }

  std::uint16_t port_ = dev::free_port();
};

TEST_F(Daemon, IsAliveAndNotReadyWhileTheBrokerIsDownAndReadyAgainAfterwards) {
  const auto relay = start_relay(with_http());
  ASSERT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  ASSERT_TRUE(nats_.stop());
  EXPECT_TRUE(dev::wait_until([&] { return !ready(); }, kPatience));
  EXPECT_EQ(get(port_, "/livez").status, 200);
  EXPECT_NE(get(port_, "/readyz").body.find("broker_unavailable"), std::string::npos);
  nats_.start();
  EXPECT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
}

// As a balancer's are, or a browser's: some had their answer, some never ask.
TEST_F(Daemon, AnswersWhileOthersKeepConnectionsOpenAndIdle) {
  constexpr int kAnswered = 12;
  constexpr int kSilent = 4;
  constexpr std::string_view kRequest = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
  const auto relay = start_relay(with_http());
  ASSERT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
  std::vector<int> idle;
  std::array<char, 1024> answer{};
  for (int i = 0; i < kAnswered + kSilent; ++i) {
    const int fd = idle.emplace_back(connect_to_loopback(port_));
    ASSERT_GE(fd, 0);
    if (i >= kAnswered) continue;
    ASSERT_GT(::send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL), 0);
    ASSERT_GT(::recv(fd, answer.data(), answer.size(), 0), 0);
  }
  const auto asked = std::chrono::steady_clock::now();
  EXPECT_EQ(get(port_, "/livez").status, 200);
  EXPECT_LT(std::chrono::steady_clock::now() - asked,
            std::chrono::milliseconds{1'000} * dev::kSlowness);
  for (const int fd : idle) ::close(fd);
}

// Within its two seconds for what comes slowly, and without taking more than 8 KiB.
TEST_F(Daemon, RefusesARequestThatIsTooLargeAndHangsUpOnOneThatIsTooSlow) {
  const auto relay = start_relay(with_http());
  ASSERT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
  const auto answer_to = [&](const std::string& request) {
    const int fd = connect_to_loopback(port_);
    EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    const timeval limit{30, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::string answer;
    std::array<char, 4096> chunk{};
    ssize_t got = 0;
    while ((got = ::recv(fd, chunk.data(), chunk.size(), 0)) > 0)
      answer.append(chunk.data(), static_cast<std::size_t>(got));
    EXPECT_TRUE(got == 0 || errno == ECONNRESET) << "still open";
    ::close(fd);
    return answer.substr(0, 12);
  };
  constexpr std::size_t kTooLarge = 9UL * 1024;
  const std::string large(kTooLarge, 'x');
  const std::string host = " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
  EXPECT_EQ(answer_to("GET /" + large + host + "\r\n"), "HTTP/1.1 414");
  EXPECT_EQ(answer_to("GET /livez" + host + "X: " + large + "\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(answer_to("POST /livez" + host + "Content-Length: " + std::to_string(kTooLarge) +
                      "\r\n\r\n" + large),
            "HTTP/1.1 413");
  const auto asked = std::chrono::steady_clock::now();
  EXPECT_EQ(answer_to("GET /livez HTTP/1.1\r\nHos"), "HTTP/1.1 400");
  EXPECT_LT(std::chrono::steady_clock::now() - asked,
            std::chrono::milliseconds{5'000} * dev::kSlowness);
  EXPECT_EQ(get(port_, "/livez").status, 200);
}

TEST_F(Daemon, IsNotReadyWhileTheStreamIsFull) {
  auto settings = with_http();
  settings["stream.max_bytes"] = "100000";
  const auto relay = start_relay(settings);
  emit(2000);
  ASSERT_TRUE(dev::wait_until(
      [&] { return get(port_, "/readyz").body.find("broker_refuses") != std::string::npos; },
      kPatience))
      << relay->log();
  EXPECT_EQ(get(port_, "/readyz").status, 503);
  EXPECT_EQ(get(port_, "/livez").status, 200);
  auto client = nats_client();
  auto stream = client.api("STREAM.INFO.SHOP")["config"];
  stream["max_bytes"] = -1;
  client.api("STREAM.UPDATE.SHOP", stream);
  EXPECT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
  EXPECT_TRUE(wait_for_seq(2000));
}

// No session sends anything: what waits is a message that was never in flight.
TEST_F(Daemon, IsStalledWhileTheStreamHasNoRoomForTheFirstMessageOfASession) {
  auto settings = with_http();
  settings["stream.max_bytes"] = "600";
  const auto relay = start_relay(settings);
  emit(10);
  ASSERT_TRUE(dev::wait_until(
      [&] { return get(port_, "/readyz").body.find("broker_refuses") != std::string::npos; },
      kPatience))
      << relay->log();
  bool green = false;
  EXPECT_TRUE(dev::wait_until(
      [&] {
        green = green || ready();
        return metric("postrider_stalled") == 1;
      },
      kPatience))
      << relay->log();
  EXPECT_FALSE(green) << relay->log();
  auto client = nats_client();
  auto stream = client.api("STREAM.INFO.SHOP")["config"];
  stream["max_bytes"] = -1;
  client.api("STREAM.UPDATE.SHOP", stream);
  EXPECT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
  EXPECT_TRUE(wait_for_seq(10));
}

TEST_F(Daemon, IsNotReadyUntilABrokerThatAnswersAlsoAcknowledges) {
  TcpProxy proxy(nats_.options().port);
  auto settings = with_http();
  settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy.port()) + "\"";
  settings["relay.ack_timeout"] = "\"500ms\"";
  settings["relay.window_messages"] =
      "10";  // what is in flight is stored: more must wait behind it
  const auto relay = start_relay(settings);
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << relay->log();
  ASSERT_TRUE(dev::wait_until([&] { return ready(); }, kPatience));
  proxy.drop_acknowledgements(true);
  emit(1000);
  ASSERT_TRUE(dev::wait_until([&] { return !ready(); }, kPatience)) << relay->log();
  // Session after session starts, and none of them makes it green.
  const auto sessions = metric("postrider_sessions_total");
  bool green = false;
  EXPECT_TRUE(dev::wait_until(
      [&] {
        green = green || ready();
        return metric("postrider_sessions_total") >= sessions + 3 &&
               metric("postrider_stalled") == 1;
      },
      kPatience))
      << relay->log();
  EXPECT_FALSE(green) << relay->log();
  EXPECT_NE(get(port_, "/readyz").body.find("stalled: the broker does not acknowledge"),
            std::string::npos);
  proxy.drop_acknowledgements(false);
  EXPECT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
  EXPECT_EQ(metric("postrider_stalled"), 0);
  EXPECT_TRUE(wait_for_seq(1010));
}

// Stalled while the source was its own; then another relay has it.
TEST_F(Daemon, IsReadyAgainAsStandbyThoughItWasStalledAsOwner) {
  TcpProxy proxy(nats_.options().port);
  auto settings = with_http();
  settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy.port()) + "\"";
  settings["relay.ack_timeout"] = "\"500ms\"";
  settings["relay.window_messages"] =
      "10";  // what is in flight is stored: more must wait behind it
  const auto relay = start_relay(settings);
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << relay->log();
  proxy.drop_acknowledgements(true);
  emit(1000);
  ASSERT_TRUE(dev::wait_until([&] { return metric("postrider_stalled") == 1; }, kPatience))
      << relay->log();
  const auto other = start_relay(quick(), {}, "other");
  ASSERT_TRUE(dev::wait_until([&] { return other->log().find("standing by") != std::string::npos; },
                              kPatience));
  relay->pause();
  ASSERT_TRUE(wait_for_seq(1010)) << other->log();
  relay->resume();
  EXPECT_TRUE(dev::wait_until([&] { return get(port_, "/readyz").body == "standby\n"; }, kPatience))
      << relay->log();
  EXPECT_TRUE(ready());
}

// Its broker does not answer: until it says so, it is neither a standby nor carries anything.
TEST_F(Daemon, IsNotReadyAsAnOwnerThatWasAStandbyUntilASessionRuns) {
  TcpProxy proxy(nats_.options().port);
  auto settings = with_http();
  settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy.port()) + "\"";
  const auto owner = start_relay(quick(), {}, "owner");
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << owner->log();
  const auto relay = start_relay(settings);
  ASSERT_TRUE(dev::wait_until([&] { return get(port_, "/readyz").body == "standby\n"; }, kPatience))
      << relay->log();
  EXPECT_TRUE(ready());
  proxy.drop_answers(true);
  owner->kill();
  std::string shown;
  EXPECT_TRUE(dev::wait_until(
      [&] {
        shown = get(port_, "/readyz").body;
        return shown != "standby\n";
      },
      kPatience))
      << relay->log();
  EXPECT_TRUE(shown.starts_with("starting")) << shown;
  EXPECT_FALSE(ready());
  proxy.drop_answers(false);
  EXPECT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
}

TEST_F(Daemon, LogsJsonThatIsJson) {
  auto settings = quick();
  settings["log.format"] = "\"json\"";
  const auto relay = start_relay(settings, {}, "json", {"--until-caught-up"});
  ASSERT_EQ(relay->wait(kPatience), 0);
  std::istringstream lines(relay->log());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto json = Json::parse(line, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line;
    EXPECT_TRUE(json.contains("level") && json.contains("time") && json.contains("message"))
        << line;
  }
  EXPECT_GT(count, 2);
}

TEST_F(Daemon, StandbyIsReady) {
  const auto owner = start_relay(quick(), {}, "owner");
  ASSERT_TRUE(dev::wait_until(
      [&] { return owner->log().find("session 1 starts") != std::string::npos; }, kPatience));
  const auto standby = start_relay(with_http());
  ASSERT_TRUE(dev::wait_until(
      [&] { return standby->log().find("standing by") != std::string::npos; }, kPatience));
  EXPECT_TRUE(dev::wait_until([&] { return ready(); }, kPatience));
  EXPECT_EQ(get(port_, "/readyz").body, "standby\n");
}

TEST_F(Daemon, StandbyBehindAStrangersLockIsNotReadyAndSaysWho) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> stranger(PQconnectdb(conninfo("app").c_str()),
                                                              &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> lock(
      PQexec(stranger.get(), "SELECT pg_advisory_lock(28786, hashtext('shop'))"), &PQclear);
  ASSERT_EQ(PQresultStatus(lock.get()), PGRES_TUPLES_OK) << PQerrorMessage(stranger.get());
  const auto relay = start_relay(with_http());
  EXPECT_TRUE(dev::wait_until(
      [&] { return get(port_, "/readyz").body.find("of role app") != std::string::npos; },
      kPatience))
      << relay->log();
  EXPECT_FALSE(ready());
  EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
  sql("SELECT pg_terminate_backend(" + std::to_string(PQbackendPID(stranger.get())) + ")");
  EXPECT_TRUE(dev::wait_until([&] { return get(port_, "/readyz").body == "running\n"; }, kPatience))
      << relay->log();
}

TEST_F(Daemon, SaysHowMuchWalItsSlotRetainsWhileTheBrokerIsDown) {
  const auto relay = start_relay(with_http());
  ASSERT_TRUE(dev::wait_until([&] { return ready(); }, kPatience)) << relay->log();
  ASSERT_TRUE(dev::wait_until(
      [&] {
        return get(port_, "/metrics").body.find("postrider_wal_retained_bytes{") !=
               std::string::npos;
      },
      kPatience));
  ASSERT_TRUE(nats_.stop());
  sql("CREATE TABLE busy AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
  EXPECT_TRUE(
      dev::wait_until([&] { return metric("postrider_wal_retained_bytes") > 15e6; }, kPatience))
      << get(port_, "/metrics").body;
}

TEST_F(Daemon, CountsInItsMetrics) {
  const auto relay = start_relay(with_http());
  emit(250);
  ASSERT_TRUE(wait_for_seq(250));
  EXPECT_TRUE(dev::wait_until([&] { return metric("postrider_events_total") == 250; }, kPatience));
  EXPECT_EQ(metric("postrider_transactions_total"), 1);
  EXPECT_EQ(metric("postrider_ordinal"), 250);
  EXPECT_EQ(metric("postrider_ready"), 1);
  EXPECT_EQ(metric("postrider_sessions_total"), 1);
  EXPECT_TRUE(
      dev::wait_until([&] { return metric("postrider_confirmations_total") > 0; }, kPatience));
  EXPECT_EQ(get(port_, "/elsewhere").status, 404);
}

TEST_F(Daemon, DrainsWhenAskedToStopAndTheNextGoesOn) {
  catch_up();
  Workload workload(writers());
  for (int round = 0; round < 3; ++round) {
    const auto relay = start_relay();
    const auto before = last_seq();
    ASSERT_TRUE(wait_for_seq(before + 200)) << relay->log();
    relay->terminate();
    EXPECT_EQ(relay->wait(kPatience), 0) << relay->log();
    EXPECT_NE(relay->log().find("draining"), std::string::npos);
  }
  workload.stop();
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

TEST_F(Daemon, GoesOnAfterAHangup) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  ASSERT_EQ(::kill(relay->pid(), SIGHUP), 0);
  emit(10);
  EXPECT_TRUE(wait_for_seq(20)) << relay->log();
  EXPECT_TRUE(relay->running());
}

// The window is full, so nothing is read from the connection whose end must be noticed.
TEST_F(Daemon, SpendsNoTimeOnADeadWalsenderWhileItsWindowIsFull) {
  TcpProxy proxy(nats_.options().port);
  auto settings = with_http();
  settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy.port()) + "\"";
  settings["relay.window_messages"] = "10";
  settings["relay.ack_timeout"] = "\"1m\"";
  const auto relay = start_relay(settings);
  emit(10);
  ASSERT_TRUE(wait_for_seq(10)) << relay->log();
  proxy.drop_acknowledgements(true);
  // So few that the server's socket takes them all: one that is blocked in a write cannot end.
  emit(100);
  ASSERT_TRUE(
      dev::wait_until([&] { return metric("postrider_in_flight_messages") == 10; }, kPatience));
  const auto before = relay->cpu_ticks();
  sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("session ended: postgres_unavailable") != std::string::npos; },
      kPatience))
      << relay->log();
  EXPECT_LT(relay->cpu_ticks() - before, static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)) / 2);
  proxy.drop_acknowledgements(false);
  EXPECT_TRUE(wait_for_seq(110)) << relay->log();
}

TEST_F(Daemon, StopsWhenAskedWhileTheBrokerIsDown) {
  const auto relay = start_relay();
  emit(10);
  ASSERT_TRUE(wait_for_seq(10));
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  emit(10);
  relay->terminate();
  EXPECT_EQ(relay->wait(kPatience), 0) << relay->log();
  nats_.start();
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

TEST_F(Daemon, UntilCaughtUpPublishesWhatWasCommittedBeforeItsStart) {
  emit(3000);
  catch_up();
  EXPECT_EQ(last_seq(), 3000U);
  catch_up();  // and nothing twice
  EXPECT_EQ(last_seq(), 3000U);
}

TEST_F(Daemon, MakesItsStreamWithTheSettingsThatThePromisesNeed) {
  catch_up();
  const auto config = nats_client().api("STREAM.INFO.SHOP")["config"];
  EXPECT_EQ(config["storage"], "file");
  EXPECT_EQ(config["retention"], "limits");
  EXPECT_EQ(config["discard"], "new");
  EXPECT_EQ(config["deny_delete"], false);
  EXPECT_EQ(config["deny_purge"], true);
  EXPECT_EQ(config["duplicate_window"], 5'000'000'000);
  EXPECT_EQ(config["subjects"], Json({"shop.>"}));
}

TEST_F(Daemon, StatusTellsHowFarItHasCome) {
  EXPECT_EQ(postrider({"status", "--config", config()}), 1) << "nobody carries this source";
  EXPECT_NE(output().find("no relay owns the source"), std::string::npos) << output();
  const auto relay = start_relay();
  emit(100);
  ASSERT_TRUE(wait_for_seq(100));
  ASSERT_TRUE(dev::wait_until(
      [&] {
        postrider({"status", "--json", "--config", config()});
        return Json::parse(output())["durable"].is_object();
      },
      kPatience));
  EXPECT_EQ(postrider({"status", "--json", "--config", config()}), 0) << output();
  const auto status = Json::parse(output());
  EXPECT_EQ(status["published"]["ordinal"], 100);
  EXPECT_EQ(status["durable"]["ordinal"], 100);
  EXPECT_EQ(status["lag"]["events_not_durable"], 0);
  EXPECT_EQ(status["stream"]["messages"], 100);
  EXPECT_EQ(status["slot_holder"]["application"], "postrider_shop");
  EXPECT_EQ(status["epoch"], 1);
  EXPECT_TRUE(status["problems"].empty());
  ASSERT_TRUE(nats_.stop());
  EXPECT_EQ(postrider({"status", "--config", config()}), 1);
  EXPECT_NE(output().find("NATS: "), std::string::npos) << output();
}

TEST_F(Daemon, StatusCountsTheEventsThatWait) {
  const auto lag = [&] {
    postrider({"status", "--json", "--config", config()});
    return Json::parse(output())["lag"];
  };
  emit(1000);
  EXPECT_EQ(lag()["table_events_not_published"], 1000) << "nothing was ever published";
  catch_up();
  EXPECT_EQ(lag()["table_events_not_published"], 0);
  EXPECT_EQ(lag()["seconds"], 0);
  emit(1000);
  emit(7);
  EXPECT_EQ(lag()["table_events_not_published"], 1007);
  EXPECT_GT(lag()["seconds"], 0);
  catch_up();
  EXPECT_EQ(lag()["table_events_not_published"], 0) << output();
  // WAL of others is no lag of events, however old the newest event is.
  sql("CREATE TABLE other AS SELECT generate_series(1, 10000)");
  EXPECT_GT(lag()["bytes"], 100'000);
  EXPECT_EQ(lag()["seconds"], 0) << output();
  // A transaction that began before the newest message and is committed after it.
  dev::execute(conninfo("app"),
               {"BEGIN; SELECT outbox.emit('early', '1'); PREPARE TRANSACTION 'p'"});
  emit(3);
  catch_up();
  dev::execute(conninfo("app"), {"COMMIT PREPARED 'p'"});
  EXPECT_EQ(lag()["table_events_not_published"], 1) << output();
  ASSERT_TRUE(nats_.stop());
  EXPECT_EQ(lag()["table_events_not_published"], nullptr);
}

TEST_F(Daemon, TailShowsEventsFromTheStartOrFromAPosition) {
  emit(20);
  catch_up();
  ASSERT_EQ(postrider({"tail", "--from", "start", "--until-end", "--json", "--config", config()}),
            0);
  std::vector<Json> lines;
  std::istringstream text(output());
  for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  ASSERT_EQ(lines.size(), 20U);
  EXPECT_EQ(lines[4]["subject"], "shop.e.5");
  EXPECT_EQ(lines[4]["payload"], "5");
  EXPECT_EQ(lines[4]["headers"]["Postrider-Key"], "k5");
  std::istringstream header(lines[15]["headers"]["Postrider-Position"].get<std::string>());
  std::string version;
  std::string ordinal;
  std::string position;
  header >> version >> ordinal >> position;
  ASSERT_EQ(postrider({"tail", "--from", position, "--until-end", "--config", config()}), 0);
  const auto from = output();
  EXPECT_EQ(std::count(from.begin(), from.end(), '\n'), 5) << from;
  EXPECT_TRUE(from.starts_with("16  shop.e.16  " + position)) << from;
  EXPECT_EQ(postrider({"tail", "--from", "nonsense", "--config", config()}), 78);
}

TEST_F(Daemon, TailBeginsAgainWhenTheStreamIsMadeAnew) {
  const auto relay = start_relay(unconfirmed());
  emit(5);
  ASSERT_TRUE(wait_for_seq(5));
  const RelayProcess tail(config(), folder_ / "tail.out", {}, {"--from", "start"}, "tail");
  // What it has printed, or only what it has printed since it saw the new stream.
  const auto lines = [&](bool anew) {
    auto text = tail.log();
    if (anew) text.erase(0, text.find("made anew"));
    std::size_t count = 0;
    for (auto at = text.find("shop.e."); at != std::string::npos; at = text.find("shop.e.", at + 1))
      ++count;
    return count;
  };
  ASSERT_TRUE(dev::wait_until([&] { return lines(false) == 5; }, kPatience)) << tail.log();
  nats_client().api("STREAM.DELETE.SHOP");
  emit(1);
  ASSERT_TRUE(wait_for_seq(6)) << relay->log();
  EXPECT_TRUE(dev::wait_until([&] { return lines(true) == 6; }, kPatience)) << tail.log();
}

TEST_F(Daemon, RefusesAConfigurationThatItDoesNotUnderstand) {
  const auto path = folder_ / "bad.toml";
  const auto expect_refusal = [&](const std::string& text, const std::string& what) {
    std::ofstream(path, std::ios::trunc) << text;
    EXPECT_EQ(postrider({"check", "--config", path.string()}), 78) << text;
    EXPECT_NE(output().find(what), std::string::npos) << output();
  };
  expect_refusal("[source]\nname = \"shop\"\n[relay]\nwindow_mesages = 5\n",
                 "bad.toml:4: unknown key \"relay.window_mesages\"");
  EXPECT_NE(output().find("did you mean \"relay.window_messages\""), std::string::npos) << output();
  expect_refusal("[source]\nname = \"shop\"\nname = \"other\"\n", "bad.toml:3");
  expect_refusal("[source]\nname = \"Shop!\"\n", "source.name");
  expect_refusal("[source]\nname = \"shop\"\n[relay]\nack_timeout = \"10\"\n", "is not a duration");
  expect_refusal("[source]\nname = \"shop\"\n[relay]\nwindow_messages = 100000\n", "out of range");
  expect_refusal(
      "[source]\nname = \"shop\"\n[nats]\nuser = \"a\"\ncreds = \"" + path.string() + "\"\n", "");
  expect_refusal("[source\n", "bad.toml:1");
  expect_refusal("", "source.name is not set");
  EXPECT_EQ(postrider({"relay", "--config", "/nonexistent"}), 78);
  EXPECT_EQ(postrider({"relay", "--config", folder_.string()}), 78);
  EXPECT_NE(output().find("cannot be read"), std::string::npos) << output();
  EXPECT_EQ(postrider({"relay", "--no-such-flag"}), 64);
  EXPECT_EQ(postrider({"frobnicate"}), 64);
  EXPECT_EQ(postrider({"check", "--config", config(), "--set", "relay.confim=acked"}), 78);
  EXPECT_NE(output().find("did you mean \"relay.confirm\""), std::string::npos) << output();
  EXPECT_EQ(postrider({"check", "--config", config(), "--set", "relay.confirm=acked"}), 0);
  EXPECT_NE(output().find("warn confirm"), std::string::npos) << output();
  EXPECT_EQ(postrider({"verify", "stream", "--config", config(), "--set", "relay.confim=acked"}),
            78);
  EXPECT_EQ(postrider({"--version"}), 0);
}

TEST_F(Daemon, CheckNamesWhatIsWrongAndTheRemedy) {
  EXPECT_EQ(postrider({"check", "--config", config()}), 0) << output();
  sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (\"postrider_shop\", other)'");
  sql("SET synchronous_commit = local; SELECT pg_reload_conf()");
  sql("SET synchronous_commit = local; UPDATE outbox.settings SET max_payload_bytes = 5000000");
  // By name: PostgreSQL 17 gave it a fourth parameter.
  sql("SET synchronous_commit = local; DO $$ DECLARE f regprocedure; BEGIN "
      "FOR f IN SELECT oid::regprocedure FROM pg_proc WHERE proname = 'pg_logical_emit_message' "
      "LOOP EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f); END LOOP; END $$");
  EXPECT_EQ(postrider({"check", "--config", config()}), 1);
  for (const char* what :
       {"FAIL synchronous_standby_names", "FAIL max_payload", "FAIL pg_logical_emit_message", "->"})
    EXPECT_NE(output().find(what), std::string::npos) << what << "\n" << output();

  // The remedy is a statement of this server's version: run as printed, it helps.
  const std::string printed = output();
  const auto revoke = printed.find("REVOKE EXECUTE ON FUNCTION");
  ASSERT_NE(revoke, std::string::npos) << printed;
  sql("SET synchronous_commit = local; " +
      printed.substr(revoke, printed.find(';', revoke) - revoke));
  EXPECT_EQ(postrider({"check", "--config", config()}), 1);
  EXPECT_NE(output().find("ok   pg_logical_emit_message"), std::string::npos) << output();
}

TEST_F(Daemon, CheckNamesASlotOrAPublicationThatIsMissingOrOfTheWrongKind) {
  const auto expect_failure = [&](const std::string& line, const std::string& what) {
    EXPECT_EQ(postrider({"check", "--config", config()}), 1);
    const auto begin = output().find("FAIL " + line);
    ASSERT_NE(begin, std::string::npos) << output();
    const auto found = output().substr(begin, output().find('\n', begin) - begin);
    EXPECT_NE(found.find(what), std::string::npos) << found;
    const auto next = begin + found.size() + 1;
    EXPECT_EQ(output().find("       -> ", next), next) << "no remedy:\n" << output();
  };
  // Where a slot was confirmed is never the reason.
  sql("UPDATE outbox.checkpoint SET confirm_to = 'FFFFFFFF/0'");
  EXPECT_EQ(postrider({"check", "--config", config()}), 0) << output();
  drop_slot();
  expect_failure("slot postrider_shop", "does not exist");
  sql("SELECT pg_create_logical_replication_slot('postrider_shop', 'test_decoding')");
  expect_failure("slot postrider_shop", "plugin test_decoding");
  drop_slot();
  sql("SELECT pg_create_logical_replication_slot('postrider_shop', 'pgoutput', false, true)");
  expect_failure("slot postrider_shop", "two_phase");
  const auto alter = [&](const std::string& change) {
    sql("ALTER PUBLICATION postrider " + change);
    sql("SELECT outbox.accept_publication('shop')");
  };
  alter("SET (publish = 'insert, update')");
  expect_failure("publication postrider", "not inserts only");
  alter("SET (publish = 'insert')");
  alter("ADD TABLE outbox.settings");
  expect_failure("publication postrider", "outbox.settings");
  alter("DROP TABLE outbox.events");
  expect_failure("publication postrider", "does not hold outbox.events");
  sql("DROP PUBLICATION postrider");
  expect_failure("publication postrider", "does not exist");
}

// Its texts may hold any bytes, and PostgreSQL converts none of them.
TEST_F(Daemon, ADatabaseThatIsNotUtf8IsRefused) {
  sql("CREATE DATABASE ascii OWNER owner TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' "
      "LC_CTYPE 'C'");
  auto settings = quick();
  settings["source.name"] = "\"ascii\"";
  settings["source.conninfo"] = "\"" + postgres_.conninfo("relay", "ascii") + "\"";
  settings["migrate.conninfo"] = "\"" + postgres_.conninfo("owner", "ascii") + "\"";
  const auto file = write_config(settings, "ascii").string();
  ASSERT_EQ(postrider({"migrate", "up", "--config", file}), 0) << output();
  EXPECT_EQ(postrider({"check", "--config", file}), 1);
  EXPECT_NE(output().find("FAIL server_encoding"), std::string::npos) << output();
  const auto relay = start_relay(settings, {}, "ascii");
  EXPECT_EQ(relay->wait(kPatience), 37) << relay->log();
}

TEST_F(Daemon, CheckKnowsHowARoleComesByItsRights) {
  sql("ALTER ROLE relay NOREPLICATION");
  EXPECT_EQ(postrider({"check", "--config", config()}), 1);
  EXPECT_NE(output().find("ALTER ROLE relay REPLICATION"), std::string::npos) << output();
  // As on Amazon RDS. Here the session would find out that it gives nothing.
  sql("CREATE ROLE rds_replication; GRANT rds_replication TO relay");
  EXPECT_EQ(postrider({"check", "--config", config()}), 0) << output();
  sql("DROP ROLE rds_replication; ALTER ROLE relay REPLICATION");
  sql("REVOKE postrider_relay FROM relay; CREATE ROLE between NOLOGIN NOINHERIT; "
      "GRANT postrider_relay TO between; GRANT between TO relay");
  EXPECT_EQ(postrider({"check", "--config", config()}), 1);
  EXPECT_NE(output().find("does not inherit the rights of postrider_relay"), std::string::npos)
      << output();
}

TEST_F(Daemon, CheckSeesRightsThatOthersHaveOnTheOutbox) {
  EXPECT_EQ(postrider({"check", "--config", config()}), 0);
  EXPECT_NE(output().find("ok   rights in schema outbox"), std::string::npos) << output();
  sql("CREATE ROLE stranger; GRANT INSERT ON outbox.events TO stranger; "
      "GRANT SELECT ON outbox.events TO stranger; GRANT EXECUTE ON FUNCTION "
      "outbox.relay_open(text) TO stranger");
  EXPECT_EQ(postrider({"check", "--config", config()}), 0);
  EXPECT_NE(output().find("2 that let others forge"), std::string::npos) << output();
  EXPECT_NE(output().find("FROM stranger"), std::string::npos) << output();
}

TEST_F(Daemon, CheckRefusesABrokerOlderThanItNeeds) {
  const auto run = [&](const std::string& command, const char* version) {
    const TcpProxy proxy(nats_.options().port, version);
    auto settings = quick();
    settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy.port()) + "\"";
    const auto path = write_config(settings, "command").string();
    if (command == "check") return postrider({command, "--config", path});
    return postrider({command, "--config", path, "--until-caught-up"});
  };
  EXPECT_EQ(run("check", "2.8.4"), 1);
  EXPECT_NE(output().find("FAIL nats-server version"), std::string::npos) << output();
  EXPECT_NE(output().find("-> 2.9 or newer is needed"), std::string::npos) << output();
  EXPECT_EQ(run("relay", "2.8.4"), 37) << output();
  EXPECT_EQ(run("check", "2.9.0"), 0) << output();
}

TEST_F(Daemon, CheckTriesEachRightOnTheBrokerAndComparesItsLimits) {
  catch_up();
  EXPECT_EQ(postrider({"check", "--config", config()}), 0) << output();
  for (const char* what :
       {"nats-server version", "may ask $JS.API.STREAM.MSG.GET.SHOP",
        "may ask $JS.API.STREAM.CREATE.SHOP", "may publish on shop.postrider.check"})
    EXPECT_NE(output().find(what), std::string::npos) << what << "\n" << output();
  EXPECT_EQ(last_seq(), 0U) << "check must publish nothing";
  auto client = nats_client();
  auto stream = client.api("STREAM.INFO.SHOP")["config"];
  stream["max_msg_size"] = 1000;
  client.api("STREAM.UPDATE.SHOP", stream);
  EXPECT_EQ(postrider({"check", "--config", config()}), 1);
  EXPECT_NE(output().find("FAIL max_msg_size"), std::string::npos) << output();
  ASSERT_TRUE(nats_.stop());
  nats_.options().settings = {
      R"(authorization { users = [ { user: relay, password: p, permissions: {
           publish: ["shop.>", "$JS.API.STREAM.INFO.SHOP", "postrider.>"], subscribe: "_INBOX.>" } } ] })"};
  nats_.start();
  const auto password = folder_ / "password";
  std::ofstream(password) << "p";
  fs::permissions(password, fs::perms::owner_read);
  auto settings = quick();
  settings["nats.user"] = "\"relay\"";
  settings["nats.password_file"] = "\"" + password.string() + "\"";
  const auto restricted = write_config(settings, "restricted").string();
  EXPECT_EQ(postrider({"check", "--config", restricted}), 1);
  for (const char* what : {"FAIL NATS permissions", "publish on $JS.API.STREAM.MSG.GET.SHOP",
                           "warn NATS permissions", "publish on $JS.API.STREAM.CREATE.SHOP"})
    EXPECT_NE(output().find(what), std::string::npos) << what << "\n" << output();
}

TEST_F(Daemon, CheckDoesNotKnowWhatTheBrokerDoesNotAnswer) {
  catch_up();
  TcpProxy proxy(nats_.options().port);
  proxy.drop_acknowledgements(true);
  auto settings = quick();
  settings["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy.port()) + "\"";
  EXPECT_EQ(postrider({"check", "--config", write_config(settings, "proxied").string()}), 1);
  EXPECT_NE(output().find("?    NATS permissions"), std::string::npos) << output();
  EXPECT_EQ(output().find("may publish"), std::string::npos) << output();
}

TEST_F(Daemon, WalStoreOpensClosesAndOpensAgain) {
  const std::string emit_wal = "SELECT outbox.emit('w', '1', store => 'wal')";
  EXPECT_THROW(app_sql(emit_wal), std::runtime_error) << "no relay carries it yet";
  catch_up();
  app_sql(emit_wal);
  auto without = quick();
  without["relay.wal_store"] = "false";
  {
    // Refused while writers may still use it: their events would be lost.
    const auto relay = start_relay(without);
    EXPECT_EQ(relay->wait(kPatience), 78) << relay->log();
    EXPECT_NE(relay->log().find("disable_wal_store"), std::string::npos) << relay->log();
  }
  dev::execute(conninfo("owner"), {"SELECT outbox.disable_wal_store('shop')"});
  EXPECT_THROW(app_sql(emit_wal), std::runtime_error);
  catch_up();  // with the setting still on: opens it again
  app_sql(emit_wal);
  catch_up();
  dev::execute(conninfo("owner"), {"SELECT outbox.disable_wal_store('shop')"});
  catch_up(without);
  EXPECT_THROW(app_sql(emit_wal), std::runtime_error);
  emit(1);
  catch_up(without);
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_EQ(found.expected, 3U);
}

TEST_F(Daemon, ASecretThatOthersMayReadIsRefused) {
  const auto path = folder_ / "password";
  std::ofstream(path) << "secret\n";
  auto settings = quick();
  settings["nats.user"] = "\"relay\"";
  settings["nats.password_file"] = "\"" + path.string() + "\"";
  const auto file = write_config(settings, "secret");
  EXPECT_EQ(postrider({"check", "--config", file.string()}), 78);
  EXPECT_NE(output().find("chmod 600"), std::string::npos) << output();
}

// Whatever is wrong with a connection, and also where nothing is.
TEST_F(Daemon, SaysNoPassword) {
  const std::string canary = "c4n4ryB1rd";
  const auto postgres = conninfo("relay");
  const std::vector<std::string> sources = {
      postgres + " password=" + canary,
      postgres + " sslmode=require host=127.0.0.1 password=" + canary,
      "host=127.0.0.1 port=1 user=relay dbname=shop password=" + canary,
      "host=127.0.0.1 port=1 password=a " + canary,
      "host=127.0.0.1 port=1 passwort=" + canary,
      "postgresql://relay:" + canary + "@127.0.0.1:1/shop",
      "postgresql://relay:" + canary + "@[::1/shop",
      "postgresql://relay:" + canary + "@127.0.0.1:port/shop",
      "postgresql://relay:" + canary + "%@127.0.0.1/shop",
  };
  const auto host = "127.0.0.1:" + std::to_string(nats_.options().port);
  const std::vector<std::string> brokers = {
      "nats://relay:" + canary + "@" + host,        "nats://" + canary + "@" + host,
      "nats://relay:" + canary + "/@" + host,       "nats://relay:" + canary + "@127.0.0.1:1",
      "nats://relay:" + canary + "@127.0.0.1:port", "nats://relay:" + canary + "@",
      "nats:/relay:" + canary + "@" + host,         "tls://relay:" + canary + "@" + host,
  };
  std::string said;
  const auto expect_silence = [&](const std::string& text, const std::string& of) {
    EXPECT_EQ(text.find(canary), std::string::npos) << of << " says\n" << text;
    said += text;
  };
  const auto says = [](const RelayProcess& relay, const char* what) {
    return relay.log().find(what) != std::string::npos;
  };
  const auto run = [&](const std::string& what, const Settings& changes) {
    auto settings = with_http();
    for (const auto& [key, value] : changes) settings[key] = "\"" + value + "\"";
    const auto file = write_config(settings, "canary").string();
    for (std::vector<std::string> command : {std::vector<std::string>{"check"}, {"status"}}) {
      command.insert(command.end(), {"--config", file});
      (void)postrider(command);
      expect_silence(output(), command[0] + " of " + what);
    }
    const auto relay = start_relay(settings, {}, "canary");
    EXPECT_TRUE(dev::wait_until(
        [&] {
          return !relay->running() || ready() || says(*relay, "unavailable") ||
                 says(*relay, "remedy");
        },
        kPatience))
        << what << relay->log();
    expect_silence(get(port_, "/readyz").body + get(port_, "/metrics").body + relay->log(),
                   "relay of " + what);
  };
  for (const auto& source : sources) run(source, {{"source.conninfo", source}});
  for (const auto& broker : brokers) run(broker, {{"nats.url", broker}});
  EXPECT_NE(said.find("unreadable conninfo string"), std::string::npos) << said;
  EXPECT_NE(said.find("cannot connect to"), std::string::npos) << said;
}

// `postrider dev` as its user meets it.
TEST(Dev, UpDownAndUpAgainKeepDataAndPorts) {
  const std::string folder = "/tmp/postrider-dev-test." + std::to_string(::getpid());
  const auto log = folder + ".out";
  const auto postrider = [&](const std::vector<std::string>& arguments) {
    dev::Program program;
    program.command = {postrider_program()};
    program.command.insert(program.command.end(), arguments.begin(), arguments.end());
    program.log = log;
    return dev::run(program);
  };
  const auto text = [](const std::string& path) {
    std::ifstream file(path);
    return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  };
  EXPECT_EQ(postrider({"dev", "up", "--dir", folder}), 0) << text(log);
  const auto environment = text(folder + "/dev.env");
  for (const char* name :
       {"PGHOST=", "PGPORT=", "PGUSER=", "PGDATABASE=", "NATS_URL=", "POSTRIDER_STREAM="})
    EXPECT_NE(environment.find(name), std::string::npos) << name;
  const auto config = folder + "/postrider.toml";
  EXPECT_EQ(postrider({"migrate", "up", "--config", config}), 0) << text(log);
  EXPECT_EQ(postrider({"dev", "up", "--dir", folder}), 0) << "up is idempotent";
  EXPECT_EQ(postrider({"dev", "status", "--dir", folder}), 0);
  EXPECT_EQ(postrider({"dev", "down", "--dir", folder}), 0) << text(log);
  EXPECT_EQ(postrider({"dev", "status", "--dir", folder}), 1);
  EXPECT_EQ(postrider({"dev", "up", "--dir", folder}), 0) << text(log);
  EXPECT_EQ(text(folder + "/dev.env"), environment);
  EXPECT_EQ(postrider({"migrate", "status", "--config", config}), 0) << text(log);
  EXPECT_EQ(postrider({"relay", "--until-caught-up", "--config", config}), 0) << text(log);
  EXPECT_EQ(postrider({"dev", "down", "--delete", "--dir", folder}), 0) << text(log);
  EXPECT_FALSE(std::filesystem::exists(folder + "/postgres"));
  std::filesystem::remove_all(folder);
  std::filesystem::remove(log);
}

TEST_F(Daemon, UntilCaughtUpIsNotDoneWhenItIsStoppedBefore) {
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  app_sql("SELECT outbox.emit('e', '1')");
  const auto relay = start_relay(quick(), {}, "relay", {"--until-caught-up"});
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("session ended") != std::string::npos; }, kPatience))
      << relay->log();
  relay->terminate();
  EXPECT_EQ(relay->wait(kPatience), 75) << relay->log();
}

}  // namespace
}  // namespace postrider::test
