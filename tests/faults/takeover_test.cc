// Two relays at once, and a relay that wakes up after another took over.
#include <signal.h>

#include <set>

#include "tests/support/tcp_proxy.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{30'000};

Settings soon() {
  auto settings = World::quick();
  settings["relay.takeover_after"] = "\"1s\"";
  settings["stream.duplicate_window"] = "\"100ms\"";  // the fence must hold without that net
  return settings;
}

class Takeover : public World {};

TEST_F(Takeover, TwoRelaysAtOnceCarryEachEventOnce) {
  catch_up(soon());
  Workload workload(writers());
  auto owner = start_relay(soon(), {}, "first");
  ASSERT_TRUE(dev::wait_until([&] { return owner->log().find("session") != std::string::npos; },
                              kPatience));
  for (int round = 0; round < 4; ++round) {
    auto standby = start_relay(soon(), {}, "next");
    ASSERT_TRUE(dev::wait_until(
        [&] { return standby->log().find("standing by") != std::string::npos; }, kPatience))
        << standby->log();
    workload.wait_for_more(100);
    const auto before = last_seq();
    owner->kill();
    ASSERT_TRUE(wait_for_seq(before + 200)) << standby->log();
    owner = std::move(standby);
  }
  owner->kill();
  workload.stop();
  catch_up(soon());
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_GT(found.expected, 2000U);
}

// A relay that stops in the middle of a pipelined window: part of it is sent, part waits in its
// buffers, and all of that leaves when it wakes, behind the new owner's messages.
class PausedRelay : public World {
 protected:
  void pause_and_take_over(const Settings& next_settings) {
    catch_up(soon());
    // More than one window in one transaction, so that the window is full when it stops.
    app_sql(
        "SELECT count(outbox.emit('big.'||g, jsonb_build_object('g', g))) FROM "
        "generate_series(1, 6000) g");
    const auto paused = start_relay(soon(), "publish.mid_transaction=stop@3000", "paused");
    ASSERT_TRUE(dev::wait_until([&] { return paused->stopped(); }, kPatience)) << paused->log();
    Workload workload(writers());
    const auto successor = start_relay(next_settings, {}, "successor");
    ASSERT_TRUE(dev::wait_until(
        [&] { return successor->log().find("taking over") != std::string::npos; }, kPatience));
    // Some of the successor's own are in before the paused one wakes, and some come after.
    ASSERT_TRUE(wait_for_seq(4000));
    paused->resume();
    ASSERT_TRUE(dev::wait_until(
        [&] {
          return !paused->running() || paused->log().find("standing by") != std::string::npos;
        },
        kPatience))
        << paused->log() << paused->threads();
    ASSERT_TRUE(wait_for_seq(6000));
    workload.wait_for_more(300);
    paused->kill();
    successor->kill();
    workload.stop();
    catch_up(next_settings);
  }
};

TEST_F(PausedRelay, WokenWithAFullWindowDoublesNothing) {
  ASSERT_NO_FATAL_FAILURE(pause_and_take_over(soon()));
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_GT(found.expected, 6500U);
}

TEST_F(PausedRelay, WokenAfterAChangeThatAltersBytesEncodesNothingTwoWays) {
  auto changed = soon();
  changed["relay.message_id"] = "false";
  ASSERT_NO_FATAL_FAILURE(pause_and_take_over(changed));
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  auto client = nats_client();
  std::set<bool> seen;
  for (const auto& message : client.read_stream(kStream)) {
    const auto header = message.header("Postrider-Position").value_or("");
    const bool last = header.ends_with(" last");
    const auto words = header.substr(0, header.size() - (last ? 5 : 0));
    const bool first_epoch = words.ends_with(" 1");
    EXPECT_EQ(message.header("Nats-Msg-Id").has_value(), first_epoch) << header;
    seen.insert(first_epoch);
  }
  EXPECT_EQ(seen.size(), 2U) << "both epochs must have carried events";
}

TEST_F(PausedRelay, WokenInTheMiddleOfAConfirmationLeavesTheRowToTheNewOwner) {
  catch_up(soon());
  const auto paused = start_relay(soon(), "confirm.before_checkpoint=stop", "paused");
  app_sql("SELECT outbox.emit('a', '1')");
  ASSERT_TRUE(dev::wait_until([&] { return paused->stopped(); }, kPatience)) << paused->log();
  auto silent = soon();  // so that every write of the row from now on is the paused one's
  silent["relay.broker_sync_interval"] = "\"1h\"";
  const auto successor = start_relay(silent, {}, "successor");
  ASSERT_TRUE(dev::wait_until(
      [&] { return successor->log().find("starts after ordinal") != std::string::npos; },
      kPatience))
      << successor->log();
  const std::string row = "SELECT c::text FROM outbox.checkpoint c";
  const auto before = sql(row);
  paused->resume();
  // Its session ends only after the confirmation that it had begun.
  ASSERT_TRUE(dev::wait_until(
      [&] { return !paused->running() || paused->log().find("standing by") != std::string::npos; },
      kPatience))
      << paused->log() << paused->threads();
  EXPECT_EQ(sql(row), before);
}

// It has read the row, and stands still until a newer session has opened an epoch and let go of the
// slot. What it could carry now belongs to that epoch, which it does not know.
TEST_F(PausedRelay, WokenBeforeItHoldsTheSlotIsFencedBeforeItCarriesAnything) {
  catch_up(soon());
  app_sql("SELECT outbox.emit('before', '1')");
  catch_up(soon());
  const auto paused = start_relay(soon(), "session.after_read_mark=stop", "paused");
  ASSERT_TRUE(dev::wait_until([&] { return paused->stopped(); }, kPatience)) << paused->log();
  auto changed = soon();
  changed["relay.message_id"] = "false";
  catch_up(changed);
  app_sql("SELECT outbox.emit('after', '1')");
  paused->resume();
  ASSERT_TRUE(dev::wait_until(
      [&] { return paused->log().find("session ended") != std::string::npos; }, kPatience))
      << paused->log();
  EXPECT_NE(paused->log().find("a newer session began before this one could"), std::string::npos)
      << paused->log();
  paused->kill();
  catch_up(changed);
  EXPECT_FALSE(nats_client().read_stream(kStream).back().header("Nats-Msg-Id").has_value());
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

// A full window of the old owner is still on its way when the new one has published: the worst that
// a paused relay or a late network can do.
class LateWindow : public World {
 protected:
  LateWindow() : proxy_(nats_.options().port) {}

  // The old owner's window is held back in the network, and the old owner paused.
  std::unique_ptr<RelayProcess> hold_a_window() {
    auto late = soon();
    late["nats.url"] = "\"nats://127.0.0.1:" + std::to_string(proxy_.port()) + "\"";
    catch_up(soon());
    auto old = start_relay(late, {}, "old");
    app_sql("SELECT outbox.emit('first', '1')");
    EXPECT_TRUE(wait_for_seq(1)) << old->log();
    const auto held = proxy_.held_bytes();
    proxy_.hold_requests(true);
    app_sql(
        "SELECT count(outbox.emit('big.'||g, jsonb_build_object('g', g))) FROM "
        "generate_series(1, 6000) g");
    // A window is 4096 messages of more than 300 bytes each.
    EXPECT_TRUE(
        dev::wait_until([&] { return proxy_.held_bytes() > held + 4096UL * 300; }, kPatience));
    old->pause();
    EXPECT_EQ(last_seq(), 1U);
    return old;
  }
  void finish(RelayProcess& old, RelayProcess& successor, const Settings& next = soon()) {
    old.resume();
    EXPECT_TRUE(dev::wait_until(
        [&] { return !old.running() || old.log().find("standing by") != std::string::npos; },
        kPatience))
        << old.log() << old.threads();
    EXPECT_TRUE(wait_for_seq(6001));
    old.kill();
    successor.kill();
    catch_up(next);
    const auto found = verdict();
    EXPECT_TRUE(found.good()) << found;
    EXPECT_EQ(found.expected, 6001U);
  }

  void accept_behind_half_of(const Settings& next) {
    const auto old = hold_a_window();
    const auto successor = start_relay(next, "publish.before_send=stop@1000", "successor");
    ASSERT_TRUE(dev::wait_until([&] { return successor->stopped(); }, kPatience))
        << successor->log();
    const auto before = last_seq();
    proxy_.hold_requests(false);
    ASSERT_TRUE(wait_for_seq(before + 1000))
        << "nothing of the late window was accepted: this shows nothing";
    successor->resume();
    ASSERT_NO_FATAL_FAILURE(finish(*old, *successor, next));
  }

  TcpProxy proxy_;
};

// The event whose sequence it took is refused, those behind it are stored: only the headers tell.
TEST_F(LateWindow, WithAForeignMessageInFrontOfItHaltsAndDoesNotGoOnWithoutAnEvent) {
  const auto old = hold_a_window();
  nats_client().publish("shop.forged", "{}");
  proxy_.hold_requests(false);
  // While it stands still: it would end its connection, and what is on its way, at the first answer.
  ASSERT_TRUE(wait_for_seq(101)) << "the rest of the window must have been stored behind it";
  old->resume();
  EXPECT_EQ(old->wait(kPatience), 27) << old->log();
  EXPECT_NE(old->log().find("sequence 2 holds"), std::string::npos) << old->log();
  // Nor does another relay, which reads the same stream.
  EXPECT_EQ(start_relay(soon(), {}, "next")->wait(kPatience), 27);
}

TEST_F(LateWindow, ArrivingBehindTheNewOwnersMessagesDoublesNothing) {
  const auto old = hold_a_window();
  const auto successor = start_relay(soon(), {}, "successor");
  ASSERT_TRUE(wait_for_seq(6001)) << successor->log();
  proxy_.hold_requests(false);
  ASSERT_NO_FATAL_FAILURE(finish(*old, *successor));
}

// The expected sequence of one of the late messages is the stream's last one: it is accepted, and
// all behind it. They are the same bytes at the same places, or this fails.
TEST_F(LateWindow, AcceptedBehindHalfOfTheNewOwnersMessagesIsTheSameBytes) {
  ASSERT_NO_FATAL_FAILURE(accept_behind_half_of(soon()));
}

// The old owner has the window from before the change, and so must the new one encode it.
TEST_F(LateWindow, AcceptedAfterAChangeThatAltersBytesIsStillTheSameBytes) {
  auto changed = soon();
  changed["relay.message_id"] = "false";
  ASSERT_NO_FATAL_FAILURE(accept_behind_half_of(changed));
  auto client = nats_client();
  for (const auto& message : client.read_stream(kStream))
    ASSERT_TRUE(message.header("Nats-Msg-Id").has_value()) << "sequence " << message.seq;
}

}  // namespace
}  // namespace postrider::test
