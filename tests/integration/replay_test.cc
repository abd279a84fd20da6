// `postrider replay`: a range of the stream again, in a stream of its own, once, whatever kills it.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr const char* kCopy = "AGAIN";
constexpr int kUsage = 78;
constexpr int kStreamSettings = 28;
constexpr int kStreamBehind = 40;

class Replay : public World {
 protected:
  std::unique_ptr<RelayProcess> start_replay(const std::vector<std::string>& arguments,
                                             const std::string& failpoints = {}) {
    std::vector<std::string> all = {"--to", kCopy, "--prefix", "again.shop"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return std::make_unique<RelayProcess>(write_config(quick(), "replay"), folder_ / "replay.log",
                                          failpoints, all, "replay");
  }
  int replay(const std::vector<std::string>& arguments) {
    const auto process = start_replay(arguments);
    const auto status = process->wait(kPatience);
    log_ = process->log();
    return status.value_or(-1);
  }
  // The copy holds exactly the originals with ordinals `first` to `last`, in order, byte for byte.
  void expect_copy(std::uint64_t first, std::uint64_t last) {
    auto client = nats_client();
    const auto originals = client.read_stream(kStream);
    const auto copies = client.read_stream(kCopy);
    ASSERT_EQ(copies.size(), last - first + 1);
    for (std::size_t i = 0; i < copies.size(); ++i) {
      const auto& original = originals.at(first - 1 + i);
      const auto& copy = copies[i];
      ASSERT_EQ(copy.subject, "again." + original.subject);
      ASSERT_EQ(copy.data, original.data);
      for (const auto& [name, value] : original.headers)
        if (!name.starts_with("Nats-")) {
          ASSERT_EQ(copy.header(name), value) << name;
        }
      ASSERT_NE(copy.header("Postrider-Replay")
                    .value_or("")
                    .find("v1 SHOP " + std::to_string(original.seq) + " "),
                std::string::npos);
    }
  }
  void fill(std::uint64_t events) {
    catch_up();  // opens the wal store
    write(events);
    catch_up();
  }

  std::string log_;
};

TEST_F(Replay, CopiesARangeByteForByteAndOnce) {
  fill(50);
  ASSERT_EQ(replay({"--from", "ordinal:11", "--until", "ordinal:30"}), 0) << log_;
  expect_copy(11, 30);
  ASSERT_EQ(replay({"--from", "ordinal:11", "--until", "ordinal:30"}), 0) << log_;
  expect_copy(11, 30);
  EXPECT_NE(log_.find("published 0 messages"), std::string::npos) << log_;
  EXPECT_TRUE(verdict().good()) << "the source's stream is untouched: " << verdict();
}

TEST_F(Replay, DryRunPublishesNothing) {
  fill(20);
  ASSERT_EQ(replay({"--dry-run"}), 0) << log_;
  EXPECT_NE(log_.find("would publish " + std::to_string(last_seq()) + " messages"),
            std::string::npos)
      << log_;
  EXPECT_FALSE(nats_client().has_stream(kCopy));
}

TEST_F(Replay, TakesByPositionTimeAndFilter) {
  for (const auto* subject : {"order.placed", "customer.new", "order.paid", "customer.gone"})
    app_sql(std::string("SELECT outbox.emit('") + subject + "', '1')");
  catch_up();
  const auto originals = nats_client().read_stream(kStream);
  ASSERT_EQ(originals.size(), 4U);
  const auto subjects = [&] {
    std::vector<std::string> found;
    for (const auto& message : nats_client().read_stream(kCopy)) found.push_back(message.subject);
    nats_client().api(std::string("STREAM.DELETE.") + kCopy);
    return found;
  };
  using Subjects = std::vector<std::string>;
  const auto id = originals[1].header("Nats-Msg-Id").value();  // the position
  ASSERT_EQ(replay({"--from", id, "--until", id}), 0) << log_;
  EXPECT_EQ(subjects(), Subjects{"again.shop.customer.new"});
  ASSERT_EQ(replay({"--filter", "order.>"}), 0) << log_;
  EXPECT_EQ(subjects(), (Subjects{"again.shop.order.placed", "again.shop.order.paid"}));
  // v1 ordinal position xid commit-time ...
  const auto header = originals[2].header("Postrider-Position").value();
  auto at = header.find(' ');
  for (int field = 0; field < 3; ++field) at = header.find(' ', at + 1);
  const auto time = header.substr(at + 1, header.find(' ', at + 1) - at - 1);
  const auto text = sql("SELECT to_char((timestamptz 'epoch' + " + time +
                        " * interval '1 microsecond') AT TIME ZONE 'UTC', "
                        "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
  ASSERT_EQ(replay({"--from", text, "--until", text}), 0) << log_;
  EXPECT_EQ(subjects(), Subjects{"again.shop.order.paid"});
}

TEST_F(Replay, NeverGoesIntoTheSourcesOwnStreamOrAnothersReplay) {
  fill(10);
  const auto run = [&](const std::string& to, const std::string& prefix) {
    return postrider({"replay", "--config", write_config(quick(), "replay").string(), "--to", to,
                      "--prefix", prefix});
  };
  EXPECT_EQ(run(kStream, "again.shop"), kUsage) << output();
  EXPECT_EQ(run(kCopy, "shop"), kUsage) << output();
  EXPECT_EQ(run(kCopy, "shop.again"), kUsage) << output();
  EXPECT_EQ(run(kCopy, "again.>"), kUsage) << output();
  EXPECT_EQ(run(kCopy, "a b"), kUsage) << output();
  EXPECT_FALSE(nats_client().has_stream(kCopy));
  ASSERT_EQ(replay({"--until", "ordinal:5"}), 0) << log_;
  EXPECT_EQ(replay({"--until", "ordinal:6"}), kStreamSettings) << log_;
  expect_copy(1, 5);
  nats_client().api("STREAM.CREATE.OTHER",
                    {{"name", "OTHER"}, {"subjects", {"other.>", "more.>"}}});
  EXPECT_EQ(run("OTHER", "other"), kStreamSettings) << output();
}

TEST_F(Replay, SaysWhatTheStreamNoLongerHolds) {
  fill(30);
  auto client = nats_client();
  auto config = client.api(std::string("STREAM.INFO.") + kStream)["config"];
  nats_client().api(std::string("STREAM.DELETE.") + kStream);
  config["deny_delete"] = false;
  config["deny_purge"] = false;
  nats_client().api(std::string("STREAM.CREATE.") + kStream, config);
  catch_up(unconfirmed());
  nats_client().api(std::string("STREAM.PURGE.") + kStream, {{"seq", 11}});
  EXPECT_EQ(replay({"--from", "ordinal:5"}), kStreamBehind) << log_;
  EXPECT_NE(log_.find("begins with ordinal 11"), std::string::npos) << log_;
  EXPECT_EQ(replay({"--from", "ordinal:11", "--until", "ordinal:12"}), 0) << log_;
}

// Nothing was copied yet, behind which a gap would show.
TEST_F(Replay, MissesWhatAgesOutBeforeItsFirstRead) {
  fill(30);
  const auto process = start_replay({"--from", "ordinal:5"}, "replay.before_read=stop");
  ASSERT_TRUE(dev::wait_until([&] { return process->stopped(); }, kPatience)) << process->log();
  for (int seq = 1; seq <= 10; ++seq)
    nats_client().api(std::string("STREAM.MSG.DELETE.") + kStream, {{"seq", seq}});
  process->resume();
  EXPECT_EQ(process->wait(kPatience), kStreamBehind) << process->log();
  EXPECT_NE(process->log().find("begins with ordinal 11"), std::string::npos) << process->log();
  EXPECT_TRUE(nats_client().read_stream(kCopy).empty());
}

// Killed at every step; the same command goes on, and nothing comes twice.
TEST_F(Replay, GoesOnWhereItWasKilled) {
  fill(700);
  const auto last = last_seq();
  for (const char* failpoint :
       {"replay.after_create=kill", "replay.before_publish=kill", "replay.after_publish=kill@50",
        "replay.after_publish=kill@200", "replay.before_publish=kill@300"}) {
    const auto killed = start_replay({"--until", "ordinal:" + std::to_string(last)}, failpoint);
    EXPECT_EQ(killed->wait(kPatience), 137) << failpoint << ": " << killed->log();
  }
  ASSERT_EQ(replay({"--until", "ordinal:" + std::to_string(last)}), 0) << log_;
  expect_copy(1, last);
}

// One that stands still with publishes in its buffer, and is overtaken, does no harm.
TEST_F(Replay, TwoOfTheSameWriteEachMessageOnce) {
  fill(700);
  const auto last = last_seq();
  const std::vector<std::string> range = {"--until", "ordinal:" + std::to_string(last)};
  const auto paused = start_replay(range, "replay.after_publish=stop@100");
  ASSERT_TRUE(dev::wait_until([&] { return paused->stopped(); }, kPatience));
  const auto second = start_replay(range, "replay.after_publish=stop@450");
  ASSERT_TRUE(dev::wait_until([&] { return second->stopped(); }, kPatience));
  paused->resume();
  EXPECT_EQ(paused->wait(kPatience), 0) << paused->log();
  second->resume();
  EXPECT_EQ(second->wait(kPatience), 0) << second->log();
  expect_copy(1, last);
}

TEST_F(Replay, RidesOutABrokerThatGoesAway) {
  fill(700);
  const auto last = last_seq();
  const auto process = start_replay({}, "replay.after_publish=stop@300");
  ASSERT_TRUE(dev::wait_until([&] { return process->stopped(); }, kPatience));
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  process->resume();
  nats_.start();
  EXPECT_EQ(process->wait(kPatience), 0) << process->log();
  expect_copy(1, last);
}

}  // namespace
}  // namespace postrider::test
