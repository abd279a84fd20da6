// What nats-server 2.10 and later alone can do to a stream. Which version a test is for is in
// CMakeLists.txt.
#include "tests/support/nats_cluster.h"
#include "tests/support/readmodel_world.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;
constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kStreamSettings = 28;
constexpr int kWrongLastSequence = 10071;

// 2.10.27 is 2010.
int version_of(const NatsClient& client) {
  const auto version = client.server_info().at("version").get<std::string>();
  return std::stoi(version) * 1000 + std::stoi(version.substr(version.find('.') + 1));
}

class Nats210 : public ReadModelWorld {
 protected:
  void SetUp() override { ASSERT_GE(version_of(nats_client()), 2010); }
  void create_stream(const Json& settings) {
    Json config = {{"name", kStream},
                   {"subjects", {"shop.>"}},
                   {"discard", "new"},
                   {"duplicate_window", 1'000'000'000}};
    config.update(settings);
    nats_client().api(std::string("STREAM.CREATE.") + kStream, config);
  }
  void expect_refused(const std::string& setting) {
    const auto relay = start_relay();
    EXPECT_EQ(relay->wait(kPatience), kStreamSettings) << setting << ": " << relay->log();
    EXPECT_NE(relay->log().find(setting), std::string::npos) << relay->log();
    EXPECT_NE(relay->log().find("remedy: "), std::string::npos) << relay->log();
  }
};

TEST_F(Nats210, ACompressedStreamIsCarriedIntoThroughAKill) {
  create_stream({{"compression", "s2"}});
  catch_up();
  write(200);
  catch_up();
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  nats_.start();
  const auto all = write(200);
  catch_up();
  EXPECT_EQ(last_seq(), all);
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  sql("SELECT transfer('h1', 'h2', 7, 'table') FROM generate_series(1, 20)");
  catch_up();
  apply_all();
  EXPECT_EQ(accounts(), expected_accounts());
}

// 2.10.27 loses every message of such a stream when it is killed, and keeps the number of the last
// one: to a relay they look aged out.
TEST_F(Nats210, AStreamThatDoesNotBeginAtOneIsRefused) {
  create_stream({{"first_seq", 1'000}});
  expect_refused("first_seq");
}

TEST_F(Nats210, ASubjectTransformIsRefused) {
  create_stream({{"subject_transform", {{"src", "shop.>"}, {"dest", "other.>"}}}});
  expect_refused("subject_transform");
}

class Nats215 : public Nats210 {
 protected:
  void SetUp() override { ASSERT_GE(version_of(nats_client()), 2015); }
};

TEST_F(Nats215, SettingsThatBreakAPromiseAreRefused) {
  // Counters and schedules, too: nats-server takes those with discard = old alone.
  const std::vector<std::pair<std::string, Json>> settings = {
      {"persist_mode", {{"persist_mode", "async"}}},
      {"subject_delete_marker_ttl",
       {{"subject_delete_marker_ttl", 60'000'000'000}, {"max_age", 3'600'000'000'000}}},
      {"discard", {{"allow_msg_counter", true}, {"discard", "old"}}},
      {"discard", {{"allow_msg_schedules", true}, {"discard", "old"}}}};
  for (const auto& [name, setting] : settings) {
    ASSERT_NO_THROW(create_stream(setting)) << name;
    expect_refused(name);
    nats_client().api(std::string("STREAM.DELETE.") + kStream);
  }
}

// From 2.10.14 to 2.10.29 a server of a cluster remembers the id of a message that it refuses.
class FalseDuplicate : public World {
 protected:
  FalseDuplicate() : cluster_(folder_ / "cluster") {
    (void)nats_.stop(/*kill=*/true);  // the single server of a World
    settings_ = unconfirmed();
    settings_["nats.url"] = "\"" + cluster_.urls() + "\"";
    settings_["stream.replicas"] = "3";
    settings_["stream.duplicate_window"] = "\"8s\"";
  }
  NatsClient client() {
    return NatsClient(cluster_.server(cluster_.wait_for_leader(kStream)).options().port);
  }
  int version() { return version_of(client()); }

  // A young stream is lost, and the one in its place has refused the first message once. What it
  // says to a second refusal.
  Json refuse_the_first_message() {
    catch_up(settings_);
    write(200);
    catch_up(settings_);
    const auto id = *cluster_.read_stream(kStream, 1).front().header("Nats-Msg-Id");
    auto config = cluster_.api(std::string("STREAM.INFO.") + kStream).at("config");
    (void)cluster_.api(std::string("STREAM.DELETE.") + kStream);
    (void)cluster_.api(std::string("STREAM.CREATE.") + kStream, config);
    cluster_.wait_until_whole(kStream);
    auto leader = client();
    const std::vector<std::pair<std::string, std::string>> headers = {
        {"Nats-Msg-Id", id}, {"Nats-Expected-Last-Sequence", "99"}};
    const auto first = leader.publish("shop.e", "refused", headers);
    EXPECT_EQ(first.at("error").at("err_code"), kWrongLastSequence) << first;
    return leader.publish("shop.e", "refused", headers);
  }
  void expect_exact(std::uint64_t events) {
    const auto messages = cluster_.read_stream(kStream, events);
    EXPECT_EQ(messages.size(), events);
    const auto found = compare(messages, oracle_->read(), read_written(superuser()), kSource, 0);
    EXPECT_TRUE(found.good()) << found;
  }

  NatsCluster cluster_;
  Settings settings_;
};

class Nats210Cluster : public FalseDuplicate {};

TEST_F(Nats210Cluster, AFalseDuplicateCostsTheWindowAndNoEvent) {
  const auto answer = refuse_the_first_message();
  ASSERT_EQ(version(), 2010);
  ASSERT_TRUE(answer.value("duplicate", false)) << "it does not lie: " << answer;
  const auto relay = start_relay(settings_, {}, "lied_to", {"--until-caught-up"});
  EXPECT_EQ(relay->wait(kPatience), 0) << relay->log();
  EXPECT_NE(relay->log().find("took a message for a duplicate"), std::string::npos) << relay->log();
  const auto all = write(50);
  catch_up(settings_);
  expect_exact(all);
}

class Nats215Cluster : public FalseDuplicate {};

TEST_F(Nats215Cluster, ARefusedMessagesIdIsNoDuplicate) {
  const auto answer = refuse_the_first_message();
  ASSERT_GE(version(), 2015);
  EXPECT_EQ(answer.at("error").at("err_code"), kWrongLastSequence) << answer;
  const auto relay = start_relay(settings_, {}, "carrying", {"--until-caught-up"});
  EXPECT_EQ(relay->wait(kPatience), 0) << relay->log();
  EXPECT_EQ(relay->log().find("duplicate"), std::string::npos) << relay->log();
  const auto all = write(50);
  catch_up(settings_);
  expect_exact(all);
}

}  // namespace
}  // namespace postrider::test
