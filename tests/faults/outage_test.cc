// Long outages and large transactions: memory stays bounded, and both servers stop when asked.
#include <signal.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "dev/ports.h"
#include "tests/support/loopback.h"
#include "tests/support/world.h"

namespace postrider::test {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::milliseconds kPatience{60'000};
constexpr std::uint64_t kMiB = 1024;  // in KiB, as the kernel counts

class Outage : public World {
 protected:
  // The wal store, and so the whole workload, is open once a relay's first session has begun.
  bool wal_store_opens() {
    return dev::wait_until([&] { return sql("SELECT wal_store FROM outbox.checkpoint") == "t"; },
                           kPatience);
  }
  std::string walsender() {
    return sql("SELECT pid FROM pg_stat_replication WHERE application_name = 'postrider_shop'");
  }
  // Many rows in one transaction.
  void emit(int events) {
    app_sql(
        "INSERT INTO written SELECT outbox.emit(s, p), s, p::text FROM (SELECT 'e.'||g AS s, "
        "jsonb_build_object('g', g) AS p FROM generate_series(1, " +
        std::to_string(events) + ") g) e");
  }
};

// Resident memory, measured from outside: means nothing under a sanitizer, so it has a label.
class Memory : public Outage {};

TEST_F(Memory, AnOutageOfTheBrokerCostsNoneAndKeepsTheSlotsConnection) {
  auto settings = quick();
  settings["relay.wal_sender_timeout"] = "\"2s\"";
  catch_up(settings);
  const auto relay = start_relay(settings);
  emit(20'000);
  ASSERT_TRUE(wait_for_seq(20'000));
  const auto before = relay->resident_kib();
  const auto connection = walsender();
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  // In steps, so that the relay has every chance to read ahead. Longer than wal_sender_timeout
  // would allow a silent connection: that is set to 2 s here.
  {
    Workload workload(writers());
    for (int step = 0; step < 30; ++step) emit(1000);
    workload.wait_for_more(200);
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(3500);
  ASSERT_TRUE(dev::wait_until([&] { return std::chrono::steady_clock::now() > end; }, kPatience));
  EXPECT_LE(relay->resident_kib(), before + 8 * kMiB);
  EXPECT_EQ(walsender(), connection) << relay->log();
  nats_.start();
  ASSERT_TRUE(wait_for_seq(committed())) << relay->log();
  EXPECT_LE(relay->resident_kib(), before + 8 * kMiB);
  RecordProperty("resident_before_kib", static_cast<int>(before));
  RecordProperty("resident_after_kib", static_cast<int>(relay->resident_kib()));
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

TEST_F(Outage, AFullStreamWaitsAndGoesOnWhenThereIsRoom) {
  auto settings = quick();
  settings["stream.max_bytes"] = "400000";
  const auto relay = start_relay(settings);
  ASSERT_TRUE(wal_store_opens()) << relay->log();
  const auto all = write(5000);
  ASSERT_TRUE(dev::wait_until(
      [&] { return relay->log().find("broker_refuses") != std::string::npos; }, kPatience))
      << relay->log();
  const auto held = last_seq();
  EXPECT_LT(held, all);
  EXPECT_TRUE(relay->running());
  auto client = nats_client();
  auto config = client.api("STREAM.INFO.SHOP")["config"];
  config["max_bytes"] = -1;
  client.api("STREAM.UPDATE.SHOP", config);
  ASSERT_TRUE(wait_for_seq(all)) << relay->log();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

// What ages out makes room, and no acknowledgement tells of it. A session that ended for want of
// room would begin the age of everything unconfirmed anew.
TEST_F(Outage, AStreamThatAgesHasRoomAgainForTheSameSession) {
  auto settings = quick();
  settings["stream.max_bytes"] = "400000";
  settings["stream.max_age"] = "\"1s\"";
  settings["stream.duplicate_window"] = "\"1s\"";
  const auto relay = start_relay(settings);
  ASSERT_TRUE(wal_store_opens()) << relay->log();
  for (std::uint64_t round = 1; round <= 4; ++round) {
    emit(400);
    ASSERT_TRUE(wait_for_seq(round * 400)) << relay->log();
    ASSERT_TRUE(dev::wait_until(
        [&] { return nats_client().api("STREAM.INFO.SHOP")["state"]["messages"] == 0; },
        kPatience));
  }
  EXPECT_EQ(relay->log().find("session ended"), std::string::npos) << relay->log();
}

// More is written than ages out: the stream stays full, and only what one session lets ripen is
// ever confirmed.
TEST_F(Outage, AStreamThatStaysFullIsConfirmedAllTheSame) {
  auto settings = quick();
  settings["stream.max_bytes"] = "200000";
  settings["stream.max_age"] = "\"2s\"";
  settings["stream.duplicate_window"] = "\"2s\"";
  const auto relay = start_relay(settings);
  for (int transaction = 0; transaction < 15; ++transaction) emit(100);
  ASSERT_TRUE(dev::wait_until([&] { return relay->log().find("has no room") != std::string::npos; },
                              kPatience))
      << relay->log();
  ASSERT_TRUE(dev::wait_until(
      [&] { return sql("SELECT ordinal >= 1500 FROM outbox.checkpoint") == "t"; }, kPatience))
      << relay->log();
  EXPECT_EQ(relay->log().find("session ended"), std::string::npos) << relay->log();
}

// Between the question of where the stream begins and the one for the message that proves it.
TEST_F(Outage, AMessageThatAgesOutWhileItIsAskedForIsNotInDoubt) {
  auto settings = quick();
  settings["stream.max_age"] = "\"1s\"";
  settings["stream.duplicate_window"] = "\"1s\"";
  const auto relay = start_relay(settings, "confirm.before_read=stop");
  emit(10);
  ASSERT_TRUE(dev::wait_until([&] { return relay->stopped(); }, kPatience)) << relay->log();
  ASSERT_TRUE(dev::wait_until(
      [&] { return nats_client().api("STREAM.INFO.SHOP")["state"]["messages"] == 0; }, kPatience));
  relay->resume();
  ASSERT_TRUE(dev::wait_until([&] { return sql("SELECT ordinal FROM outbox.checkpoint") == "10"; },
                              kPatience))
      << relay->log();
  EXPECT_EQ(relay->log().find("session ended"), std::string::npos) << relay->log();
}

// The broker's store on a file system of its own that is full. Mounts it, so it needs root: run by
// ctest -C power, in a mount namespace that takes it away however the test ends.
class FullDisk : public Outage {
 protected:
  ~FullDisk() override {
    (void)nats_.stop(/*kill=*/true);
    ::umount2(nats_.store().c_str(), MNT_DETACH);
  }
  // False, with errno, where this may not be done.
  bool mount_store(const std::string& size, unsigned long flags = 0) {
    return ::mount("tmpfs", nats_.store().c_str(), "tmpfs", flags, ("size=" + size).c_str()) == 0;
  }
};

// Room alone does not help nats-server 2.9: it answers nothing any more, not even SIGTERM.
TEST_F(FullDisk, OfTheBrokerIsWaitedForUntilThereIsRoom) {
  ASSERT_TRUE(nats_.stop());
  ASSERT_TRUE(mount_store("16m")) << "cannot mount a tmpfs, which needs root: "
                                  << std::strerror(errno);
  // Or it would count what is free, and refuse before the disk is full.
  nats_.options().jetstream_settings = {"max_file_store: 1GB"};
  nats_.start();
  const auto port = dev::free_port();
  auto settings = quick();
  settings["relay.ack_timeout"] = "\"1s\"";
  settings["http.listen"] = "\"127.0.0.1:" + std::to_string(port) + "\"";
  const auto relay = start_relay(settings);
  const auto readiness = [&] { return http_get(port, "/readyz").substr(0, 12); };
  ASSERT_TRUE(dev::wait_until([&] { return readiness() == "HTTP/1.1 200"; }, kPatience))
      << relay->log();
  app_sql(
      "INSERT INTO written SELECT outbox.emit('e', p), 'e', p::text FROM (SELECT "
      "to_jsonb(repeat('x', 100000)) AS p FROM generate_series(1, 250) g) e");
  const auto full = [&] { return fs::space(nats_.store()).available < 100'000; };
  ASSERT_TRUE(dev::wait_until([&] { return full() && readiness() == "HTTP/1.1 503"; }, kPatience))
      << relay->log();
  EXPECT_TRUE(relay->running()) << relay->log();
  ASSERT_TRUE(mount_store("64m", MS_REMOUNT)) << std::strerror(errno);
  ASSERT_TRUE(nats_.stop(/*kill=*/true));
  nats_.start();
  ASSERT_TRUE(wait_for_seq(250)) << relay->log();
  EXPECT_TRUE(dev::wait_until([&] { return readiness() == "HTTP/1.1 200"; }, kPatience))
      << relay->log();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
  EXPECT_EQ(found.expected, 250U);
}

TEST_F(Outage, OfTheBrokerDoesNotHoldUpAFastShutdownOfPostgres) {
  catch_up(unconfirmed());
  const auto relay = start_relay(unconfirmed());
  Workload workload(writers());
  ASSERT_TRUE(wait_for_seq(2000));
  ASSERT_TRUE(nats_.stop());
  workload.wait_for_more(100);
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast, std::chrono::milliseconds(5000)))
      << relay->log();
  RecordProperty("stop_ms", static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                                 std::chrono::steady_clock::now() - start)
                                                 .count()));
  postgres_.start();
  nats_.start();
  workload.wait_for_more(100);
  workload.stop();
  ASSERT_TRUE(wait_for_seq(committed())) << relay->log();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

TEST_F(Outage, ALaggingConfirmationDoesNotHoldUpAFastShutdownOfPostgres) {
  catch_up(unconfirmed());
  const auto relay = start_relay(unconfirmed());
  Workload workload(writers());
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(wait_for_seq(last_seq() + 1000)) << relay->log();
    ASSERT_TRUE(postgres_.stop(dev::Shutdown::kFast, std::chrono::milliseconds(5000)))
        << relay->log();
    postgres_.start();
  }
  workload.wait_for_more(100);
  workload.stop();
  ASSERT_TRUE(wait_for_seq(committed())) << relay->log();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

// The lock's backend lives on, so the session is not ended for it; nor is the walsender's
// connection dead, as far as the kernel can see.
TEST_F(Outage, OfTheWalsenderAloneDoesNotKeepASessionThatBeginsFromStopping) {
  catch_up();
  write(10);
  catch_up();
  const auto relay = start_relay(quick(), "session.before_read_mark=stop");
  ASSERT_TRUE(dev::wait_until([&] { return relay->stopped(); }, kPatience)) << relay->log();
  const pid_t backend =
      std::stoi(sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'postrider_shop'"));
  struct Freeze {
    explicit Freeze(pid_t process) : pid(process) { ::kill(pid, SIGSTOP); }
    ~Freeze() { ::kill(pid, SIGCONT); }
    pid_t pid;
  };
  {
    const Freeze freeze(backend);
    relay->resume();
    ASSERT_TRUE(dev::wait_until([&] { return !relay->stopped(); }, kPatience));
    relay->terminate();
    EXPECT_EQ(relay->wait(std::chrono::milliseconds(10'000)), 0) << relay->log();
  }
  write(10);
  catch_up();
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

// What ended a session is said once and not once a retry; but a session that worked lies between.
TEST_F(Outage, OfAnIdleSourcesSessionsEachIsSaid) {
  const auto relay = start_relay();
  ASSERT_TRUE(wal_store_opens()) << relay->log();
  const auto said = [&] {
    std::size_t times = 0;
    const auto log = relay->log();
    for (auto at = log.find("session ended"); at != std::string::npos;
         at = log.find("session ended", at + 1))
      ++times;
    return times;
  };
  for (std::size_t round = 1; round <= 4; ++round) {
    const auto before = sql("SELECT pg_current_wal_insert_lsn()");
    sql("SELECT pg_logical_emit_message(false, 'other', repeat('x', 1000000))");
    ASSERT_TRUE(dev::wait_until(
        [&] {
          return sql("SELECT confirmed_flush_lsn > '" + before +
                     "' AND active FROM pg_replication_slots WHERE slot_name = "
                     "'postrider_shop'") == "t";
        },
        kPatience))
        << relay->log();
    sql("SELECT pg_terminate_backend(" + walsender() + ")");
    ASSERT_TRUE(dev::wait_until([&] { return said() == round; }, std::chrono::milliseconds(10'000)))
        << relay->log();
  }
}

// An idle source beside busy neighbours: its slot must not hold their WAL.
TEST_F(Outage, OfNothingAnIdleSourcePinsNoWal) {
  sql("CREATE TABLE busy AS SELECT g, repeat('x', 500) AS t FROM generate_series(1, 10) g");
  sql("CREATE DATABASE other");
  const auto other = postgres_.conninfo("postgres", "other");
  dev::execute(other, {"CREATE TABLE busy (t text)"});
  const auto relay = start_relay();
  ASSERT_TRUE(wal_store_opens()) << relay->log();
  ASSERT_TRUE(wait_for_seq(write(2000))) << relay->log();
  for (int round = 0; round < 3; ++round) {
    sql("INSERT INTO busy SELECT g, repeat('y', 500) FROM generate_series(1, 20000) g");
    dev::execute(other,
                 {"INSERT INTO busy SELECT repeat('z', 500) FROM generate_series(1, 20000)"});
    ASSERT_TRUE(dev::wait_until(
        [&] {
          return sql("SELECT pg_current_wal_lsn() - confirmed_flush_lsn < 1024 * 1024 FROM "
                     "pg_replication_slots WHERE slot_name = 'postrider_shop'") == "t";
        },
        kPatience))
        << relay->log();
  }
  // And it is quiet itself: what it writes to note its progress does not make it write again.
  const auto quiet = [&] { return sql("SELECT pg_current_wal_insert_lsn()"); };
  std::string last;
  EXPECT_TRUE(dev::wait_until(
      [&] {
        const auto now = quiet();
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
        (void)dev::wait_until([&] { return std::chrono::steady_clock::now() > end; }, kPatience);
        return quiet() == now;
      },
      kPatience))
      << "the relay keeps writing WAL while nothing happens";
  const auto found = verdict();
  EXPECT_TRUE(found.good()) << found;
}

// What others write while a confirmation is under way is not that confirmation's own WAL.
TEST_F(Outage, OfNothingWalWrittenDuringAConfirmationIsNotPinned) {
  sql("CREATE DATABASE other");
  const auto relay = start_relay(quick(), "confirm.before_checkpoint=stop");
  emit(10);
  ASSERT_TRUE(dev::wait_until([&] { return relay->stopped(); }, kPatience)) << relay->log();
  dev::execute(
      postgres_.conninfo("postgres", "other"),
      {"CREATE TABLE busy AS SELECT repeat('z', 500) AS t FROM generate_series(1, 20000)"});
  relay->resume();
  EXPECT_TRUE(dev::wait_until(
      [&] {
        return sql("SELECT pg_current_wal_lsn() - confirmed_flush_lsn < 1024 * 1024 FROM "
                   "pg_replication_slots WHERE slot_name = 'postrider_shop'") == "t";
      },
      kPatience))
      << relay->log();
}

TEST_F(Memory, ATransactionOfAMillionEventsNeedsLessThan64MiB) {
  const auto relay = start_relay();
  app_sql(
      "SELECT count(outbox.emit('e.'||g, jsonb_build_object('g', g))) FROM "
      "generate_series(1, 1000000) g");
  ASSERT_TRUE(wait_for_seq(1'000'000, std::chrono::milliseconds(150'000))) << relay->log();
  EXPECT_LT(relay->peak_resident_kib(), 64 * kMiB);
  RecordProperty("peak_resident_kib", static_cast<int>(relay->peak_resident_kib()));
  std::uint64_t count = 0;
  std::uint64_t wrong = 0;
  nats_client().for_each_message(kStream, [&](const StreamMessage& message) {
    ++count;
    const auto number = std::to_string(count);
    const auto header = message.header("Postrider-Position").value_or("");
    if (!header.starts_with("v1 " + number + " ") || message.subject != "shop.e." + number ||
        header.ends_with(" last") != (count == 1'000'000))
      ++wrong;
  });
  EXPECT_EQ(count, 1'000'000U);
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace postrider::test
