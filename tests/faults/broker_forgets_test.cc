// The broker lost what it acknowledged: its store is put back to an earlier copy, its stream or the
// newest message is gone.
#include <fstream>

#include "dev/ports.h"
#include "tests/support/loopback.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPatience{30'000};
constexpr int kDurableEventsLost = 25;

class BrokerForgets : public World {
 protected:
  // Writes at least so many and waits until the stream holds them.
  void carry(std::uint64_t events) {
    written_ = write(events);
    ASSERT_TRUE(wait_for_seq(written_));
  }
  void copy_store() {
    ASSERT_TRUE(nats_.stop());
    fs::copy(nats_.store(), folder_ / "earlier", fs::copy_options::recursive);
    nats_.start();
  }
  // As a power loss that takes everything since the copy.
  void put_store_back() {
    ASSERT_TRUE(nats_.stop(/*kill=*/true));
    fs::remove_all(nats_.store());
    fs::copy(folder_ / "earlier", nats_.store(), fs::copy_options::recursive);
    nats_.start();
  }
  std::uint64_t durable_ordinal() {
    return std::stoull(sql("SELECT ordinal FROM outbox.checkpoint"));
  }
  // Turns one bit in the payload of the message with this ordinal, in whichever file holds it.
  void turn_bit(std::uint64_t ordinal) {
    const auto begin = "v1 " + std::to_string(ordinal) + " ";
    for (const auto& entry : fs::directory_iterator(messages())) {
      if (entry.path().extension() != ".blk") continue;
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      const std::string text((std::istreambuf_iterator<char>(file)), {});
      const auto header = text.find(begin);
      if (header == std::string::npos) continue;
      file.seekp(static_cast<std::streamoff>(text.find("xxxx", header)));
      file.put('y');  // 'x' and its lowest bit
      return;
    }
    throw std::runtime_error("no file holds ordinal " + std::to_string(ordinal));
  }
  [[nodiscard]] fs::path messages() const {
    return nats_.store() / "jetstream/$G/streams" / kStream / "msgs";
  }
  // Events of 100 kB, of which some 80 fill a file.
  void emit_large(int events) {
    app_sql(
        "SELECT count(outbox.emit('e', to_jsonb(repeat('x', 100000)))) FROM generate_series(1, " +
        std::to_string(events) + ") g");
  }
  int verify_stream() {
    return postrider({"verify", "stream", "--config", write_config(quick(), "verify").string()});
  }
  void expect_all() {
    const auto found = verdict();
    EXPECT_TRUE(found.good()) << found;
    EXPECT_EQ(found.expected, written_);
  }

  std::uint64_t written_ = 0;
};

TEST_F(BrokerForgets, ItsTailWhileTheRelayLivesAndTheSourceIsIdle) {
  catch_up(unconfirmed());
  const auto port = dev::free_port();
  const auto relay = start_relay(unconfirmed(), {}, "relay",
                                 {"--set", "http.listen=127.0.0.1:" + std::to_string(port)});
  ASSERT_NO_FATAL_FAILURE(carry(2000));
  ASSERT_NO_FATAL_FAILURE(copy_store());
  const auto kept = written_;
  ASSERT_NO_FATAL_FAILURE(carry(1500));
  // What the stream holds is not acknowledged yet.
  const auto acknowledged = [&] { return metric(port, "postrider_ordinal").value_or(0); };
  ASSERT_TRUE(
      dev::wait_until([&] { return acknowledged() == static_cast<double>(written_); }, kPatience))
      << acknowledged();
  put_store_back();
  // Nothing is written any more: the tail must come back by itself.
  EXPECT_TRUE(wait_for_seq(written_)) << relay->log();
  EXPECT_NE(relay->log().find("the broker lost " + std::to_string(written_ - kept) +
                              " acknowledged messages"),
            std::string::npos)
      << relay->log();
  expect_all();
}

TEST_F(BrokerForgets, ItsTailAndTheRelayIsStartedRightAfter) {
  catch_up(unconfirmed());
  auto relay = start_relay(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(carry(2000));
  ASSERT_NO_FATAL_FAILURE(copy_store());
  ASSERT_NO_FATAL_FAILURE(carry(1500));
  relay->kill();
  put_store_back();
  relay = start_relay(unconfirmed());
  EXPECT_TRUE(wait_for_seq(written_)) << relay->log();
  ASSERT_NO_FATAL_FAILURE(carry(100));
  expect_all();
}

// A session cannot know when what it finds was stored: perhaps only just.
TEST_F(BrokerForgets, ItsTailThatTheSessionFoundWhenItBegan) {
  catch_up(unconfirmed());
  auto relay = start_relay(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(carry(1000));
  ASSERT_NO_FATAL_FAILURE(copy_store());
  ASSERT_NO_FATAL_FAILURE(carry(1500));
  relay->kill();
  relay = start_relay(unconfirmed());
  // Twice it receives all there is and says so; a confirmation would be done by the second time.
  for (int round = 0; round < 2; ++round) {
    sql("SELECT pg_logical_emit_message(false, 'other', repeat('x', 100000))");
    const auto end = sql("SELECT pg_current_wal_insert_lsn()");
    ASSERT_TRUE(dev::wait_until(
        [&] {
          return sql("SELECT max(write_lsn) >= '" + end +
                     "' FROM pg_stat_replication WHERE application_name = 'postrider_shop'") == "t";
        },
        kPatience))
        << relay->log();
  }
  put_store_back();
  EXPECT_TRUE(wait_for_seq(written_, kPatience)) << relay->log();
  expect_all();
}

TEST_F(BrokerForgets, AYoungStreamAltogether) {
  catch_up(unconfirmed());
  const auto relay = start_relay(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(carry(2000));
  nats_client().api("STREAM.DELETE.SHOP");
  written_ = write(10);
  EXPECT_TRUE(wait_for_seq(written_)) << relay->log();
  expect_all();
}

// What a power loss may leave of a store whose stream's description was never synced: nats-server
// does not know the stream, and gives its messages to the next of that name.
TEST_F(BrokerForgets, AYoungStreamsDescriptionButNotItsMessages) {
  catch_up(unconfirmed());
  const auto relay = start_relay(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(carry(2000));
  const auto description = nats_.store() / "jetstream/$G/streams" / kStream / "meta.inf";
  ASSERT_TRUE(fs::exists(description));
  ASSERT_TRUE(nats_.stop());
  fs::remove(description);
  nats_.start();
  written_ = write(500);
  EXPECT_TRUE(wait_for_seq(written_)) << relay->log();
  EXPECT_NE(relay->log().find("from before it was made"), std::string::npos) << relay->log();
  expect_all();
  // The row knows the stream as it is: a later session goes on behind all of it.
  relay->kill();
  catch_up(unconfirmed());
  written_ = write(100);
  catch_up(unconfirmed());
  expect_all();
}

// nats-server 2.9 syncs only the newest of a stream's files: a power loss soon after can take one
// before it, and the end is there. What was in it can be published again only behind the end.
TEST_F(BrokerForgets, AFileBeforeTheNewestOfItsTail) {
  catch_up(unconfirmed());
  const auto relay = start_relay(unconfirmed());
  // More than two files of 8 MB.
  app_sql(
      "SELECT count(outbox.emit('e.'||g, jsonb_build_object('x', repeat('x', 100000)))) FROM "
      "generate_series(1, 250) g");
  ASSERT_TRUE(wait_for_seq(250));
  ASSERT_TRUE(nats_.stop());
  const auto messages = nats_.store() / "jetstream/$G/streams" / kStream / "msgs";
  ASSERT_TRUE(fs::exists(messages / "3.blk")) << "too few files: this shows nothing";
  fs::resize_file(messages / "2.blk", 0);
  fs::remove(messages / "2.idx");
  fs::remove(messages / "2.fss");
  fs::remove(messages / "index.db");
  nats_.start();
  ASSERT_EQ(relay->wait(kPatience), kDurableEventsLost) << relay->log();
  EXPECT_EQ(last_seq(), 250U) << "nothing may be published behind the hole";
}

// nats-server compares a message with its sum when it is read, and shows none that differs. Of
// older ones that is when a consumer comes there, or verify.
TEST_F(BrokerForgets, ABitOfAnOlderFileIsFoundByVerify) {
  catch_up();
  const auto relay = start_relay();
  emit_large(250);
  ASSERT_TRUE(wait_for_seq(250));
  ASSERT_TRUE(dev::wait_until([&] { return durable_ordinal() == 250; }, kPatience));
  ASSERT_TRUE(nats_.stop());
  turn_bit(100);
  nats_.start();
  emit_large(10);
  ASSERT_TRUE(wait_for_seq(260)) << relay->log();
  EXPECT_EQ(verify_stream(), 1) << output();
  EXPECT_NE(output().find("ordinals 100 to 100 are missing"), std::string::npos) << output();
  EXPECT_NE(output().find("259 rows found, 0 may be older than the stream, 1 not in"),
            std::string::npos)
      << output();
}

// The relay begins behind it, and cannot tell it from one that somebody deleted.
TEST_F(BrokerForgets, ABitOfItsNewestMessageIsSaidAndFoundByVerify) {
  catch_up(unconfirmed());
  const auto relay = start_relay(unconfirmed());
  emit_large(10);
  ASSERT_TRUE(wait_for_seq(10));
  ASSERT_TRUE(nats_.stop());
  turn_bit(10);
  nats_.start();
  emit_large(10);
  ASSERT_TRUE(wait_for_seq(20)) << relay->log();
  EXPECT_NE(relay->log().find("message 10, the stream's newest, cannot be read"), std::string::npos)
      << relay->log();
  EXPECT_EQ(verify_stream(), 1) << output();
  EXPECT_NE(output().find("ordinals 10 to 10 are missing"), std::string::npos) << output();
  EXPECT_NE(output().find("19 rows found, 0 may be older than the stream, 1 not in"),
            std::string::npos)
      << output();
}

// The connection stays and nothing is published: only the proof before the confirmation can see it.
TEST_F(BrokerForgets, AYoungStreamAltogetherWhileNothingIsWritten) {
  auto settings = quick();
  settings["relay.broker_sync_interval"] = "\"10s\"";
  catch_up(settings);
  const auto relay = start_relay(settings);
  ASSERT_NO_FATAL_FAILURE(carry(100));
  nats_client().api("STREAM.DELETE.SHOP");
  ASSERT_EQ(durable_ordinal(), 0U) << "too late: this shows nothing";
  EXPECT_TRUE(wait_for_seq(written_, kPatience)) << relay->log();
  EXPECT_EQ(durable_ordinal(), 0U) << "confirmed what the broker did not hold";
  expect_all();
}

TEST_F(BrokerForgets, BeyondTheConfirmDelayTheRelayHaltsAndSaysWhatIsMissing) {
  catch_up();
  const auto relay = start_relay();
  ASSERT_NO_FATAL_FAILURE(carry(2000));
  ASSERT_NO_FATAL_FAILURE(copy_store());
  const auto kept = written_;
  ASSERT_NO_FATAL_FAILURE(carry(1500));
  ASSERT_TRUE(dev::wait_until([&] { return durable_ordinal() == written_; }, kPatience));
  put_store_back();
  const auto status = relay->wait(kPatience);
  ASSERT_EQ(status, kDurableEventsLost) << relay->log();
  EXPECT_NE(relay->log().find("ordinal " + std::to_string(written_)), std::string::npos)
      << relay->log();
  EXPECT_NE(relay->log().find("remedy:"), std::string::npos);
  EXPECT_EQ(last_seq(), kept) << "nothing may be published behind the hole";
}

TEST_F(BrokerForgets, ADurableStreamAltogetherHaltsTheRelay) {
  catch_up();
  const auto relay = start_relay();
  ASSERT_NO_FATAL_FAILURE(carry(100));
  ASSERT_TRUE(dev::wait_until([&] { return durable_ordinal() == written_; }, kPatience));
  nats_client().api("STREAM.DELETE.SHOP");
  written_ = write(1);
  EXPECT_EQ(relay->wait(kPatience), kDurableEventsLost) << relay->log();
  EXPECT_FALSE(nats_client().has_stream(kStream)) << "it must not be made again behind a hole";
}

// Of a stream that somebody made without deny_delete.
TEST_F(BrokerForgets, TheNewestMessageDeletedWhileTheRelayIsAway) {
  nats_client().api("STREAM.CREATE.SHOP",
                    {{"name", "SHOP"}, {"subjects", {"shop.>"}}, {"discard", "new"}});
  catch_up();
  auto relay = start_relay();
  ASSERT_NO_FATAL_FAILURE(carry(1000));
  ASSERT_TRUE(dev::wait_until([&] { return durable_ordinal() == written_; }, kPatience));
  relay->kill();
  relay = start_relay(unconfirmed());
  ASSERT_NO_FATAL_FAILURE(carry(500));  // these only the stream knows
  relay->kill();
  auto client = nats_client();
  client.api("STREAM.MSG.DELETE.SHOP", {{"seq", written_}});
  const auto missing = written_;
  written_ = write(50);
  catch_up();
  // Everything but the deleted message is there, and what followed has the right ordinals.
  auto found = verdict();
  EXPECT_EQ(found.in_stream, written_ - 1) << found;
  EXPECT_EQ(found.lost, 1U) << found;
  EXPECT_EQ(found.duplicated + found.foreign + found.malformed + found.altered, 0U) << found;
  EXPECT_EQ(last_seq(), written_);
  EXPECT_THROW(client.api("STREAM.MSG.GET.SHOP", {{"seq", missing}}), std::runtime_error);
}

// The row vouches for it, and nothing is behind it: there is nothing to be in doubt of.
TEST_F(BrokerForgets, TheNewestMessageDeletedOnceItIsDurablePinsNoWal) {
  catch_up();
  const auto relay = start_relay();
  ASSERT_NO_FATAL_FAILURE(carry(100));
  ASSERT_TRUE(dev::wait_until([&] { return durable_ordinal() == written_; }, kPatience));
  nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", written_}});
  for (int round = 0; round < 2; ++round) {
    const auto before = sql("SELECT pg_current_wal_insert_lsn()");
    sql("SELECT pg_logical_emit_message(false, 'other', repeat('x', 1000000))");
    ASSERT_TRUE(dev::wait_until(
        [&] {
          return sql("SELECT confirmed_flush_lsn > '" + before +
                     "' FROM pg_replication_slots WHERE slot_name = 'postrider_shop'") == "t";
        },
        kPatience))
        << relay->log();
  }
  ASSERT_NO_FATAL_FAILURE(carry(50));
  EXPECT_EQ(last_seq(), written_);
  const auto found = verdict();
  EXPECT_EQ(found.in_stream, written_ - 1) << found;
  EXPECT_EQ(found.lost, 1U) << found;
  EXPECT_EQ(found.duplicated + found.foreign + found.malformed + found.altered, 0U) << found;
}

TEST_F(BrokerForgets, MessagesThatAgeOutWhileTheRelayIsAway) {
  auto settings = quick();
  settings["stream.max_age"] = "\"2s\"";
  settings["stream.duplicate_window"] = "\"1s\"";
  catch_up(settings);
  auto relay = start_relay(settings);
  ASSERT_NO_FATAL_FAILURE(carry(2000));
  const auto gone = written_;
  relay->kill();
  auto client = nats_client();
  ASSERT_TRUE(dev::wait_until(
      [&] { return client.api("STREAM.INFO.SHOP")["state"]["messages"] == 0; }, kPatience));
  written_ = write(500);
  relay = start_relay(settings);
  ASSERT_TRUE(wait_for_seq(written_)) << relay->log();
  const auto found = verdict(gone);
  EXPECT_TRUE(found.good()) << found;
  EXPECT_EQ(found.in_stream, written_ - gone);
}

}  // namespace
}  // namespace postrider::test
