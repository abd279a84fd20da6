// What an applier says of itself while it does not get on: in this process, because its clock is
// asked what it would say later.
#include <atomic>
#include <thread>

#include "readmodel/applier.h"
#include "tests/support/readmodel_world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{30'000};
constexpr std::chrono::milliseconds kLate = kReadModelStalledAfter + std::chrono::minutes(1);

// Where a projection hangs for as long as the test wants.
class Gate {
 public:
  void shut() { shut_ = true; }
  void open() {
    shut_ = false;
    shut_.notify_all();
  }
  void pass() { shut_.wait(true); }

 private:
  std::atomic<bool> shut_{false};
};

// Does what the test says.
class Handler : public Projection {
 public:
  using Work = std::function<void(pqxx::transaction_base&)>;
  explicit Handler(Work work) : work_(std::move(work)) {}
  [[nodiscard]] std::string name() const override { return "handler"; }
  void apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent>) override { work_(tx); }

 private:
  Work work_;
};

// An applier on a thread of its own. Opens the gate before it waits for its end.
class Running {
 public:
  Running(const ReadModelOptions& options, Gate& gate, Handler::Work work)
      : gate_(gate),
        applier_(options, {std::make_shared<Handler>(std::move(work))}),
        thread_([this] { applier_.run(); }) {}
  ~Running() {
    applier_.request_stop();
    gate_.open();
    thread_.join();
  }
  [[nodiscard]] ReadModelStatus status() const { return applier_.status(); }
  // As it would be if nothing changed for so long.
  [[nodiscard]] ReadModelStatus later(std::chrono::milliseconds by) const {
    return applier_.status(std::chrono::steady_clock::now() + by);
  }

 private:
  Gate& gate_;
  Applier applier_;
  std::thread thread_;
};

class ApplierStatus : public ReadModelWorld {
 protected:
  [[nodiscard]] ReadModelOptions options() const {
    ReadModelOptions options;
    options.name = "counted";
    options.source = kSource;
    options.stream = kStream;
    options.target_conninfo = target_conninfo("applier");
    options.nats.url = nats_.url();
    return options;
  }
  void emit(int events) {
    for (int i = 0; i < events; ++i) app_sql("SELECT outbox.emit('e', '{}')");
    catch_up();
  }

  Gate gate_;
};

TEST_F(ApplierStatus, IsReadyWhereThereIsNothingToApply) {
  catch_up();
  const Running running(options(), gate_, [](auto&) {});
  EXPECT_TRUE(dev::wait_until([&] { return running.status().ready(); }, kPatience));
  EXPECT_FALSE(running.later(std::chrono::hours(100)).stalled);
}

// In its first batch, before the session looks at anything else.
TEST_F(ApplierStatus, IsNeverReadyWhileEverySessionFailsAndSaysHowFarItIsBehind) {
  emit(5);
  target_sql("ALTER ROLE applier SET statement_timeout = '500ms'");
  std::atomic<bool> fails{true};
  const Running running(options(), gate_,
                        [&](auto& tx) { tx.exec(fails ? "SELECT pg_sleep(9)" : "SELECT 1"); });
  bool green = false;
  EXPECT_TRUE(dev::wait_until(
      [&] {
        green = green || running.status().ready();
        return running.status().sessions_total >= 5;
      },
      kPatience));
  EXPECT_FALSE(green);
  EXPECT_EQ(running.status().lag_events(), 5U);
  EXPECT_EQ(running.status().error_kind, "postgres_unavailable");
  EXPECT_TRUE(running.later(kLate).stalled);
  fails = false;
  EXPECT_TRUE(dev::wait_until([&] { return running.status().ready(); }, kPatience));
  EXPECT_TRUE(dev::wait_until([&] { return running.status().lag_events() == 0; }, kPatience));
  EXPECT_EQ(running.status().error_kind, "");
  EXPECT_FALSE(running.later(kLate).stalled);
}

TEST_F(ApplierStatus, IsStalledWhileItsProjectionHangs) {
  emit(1);
  const Running running(options(), gate_, [&](auto&) { gate_.pass(); });
  ASSERT_TRUE(dev::wait_until([&] { return running.status().ready(); }, kPatience));
  gate_.shut();
  emit(3);
  ASSERT_TRUE(dev::wait_until([&] { return running.later(kLate).stalled; }, kPatience));
  EXPECT_FALSE(running.later(kLate).ready());
  EXPECT_TRUE(running.status().ready()) << "a batch may take as long as this";
  gate_.open();
  EXPECT_TRUE(dev::wait_until([&] { return running.status().cursor.ordinal == 4; }, kPatience));
  EXPECT_TRUE(dev::wait_until([&] { return !running.later(kLate).stalled; }, kPatience));
  EXPECT_TRUE(running.status().ready());
}

// It comes in pieces, and is committed with its last event.
TEST_F(ApplierStatus, IsReadyDuringATransactionThatIsLargerThanMemory) {
  auto small = options();
  small.batch_bytes = 4096;
  app_sql(
      "SELECT count(outbox.emit('e', to_jsonb(repeat('x', 1000)))) FROM generate_series(1, 8000)");
  catch_up();
  gate_.shut();
  std::atomic<int> pieces{0};
  const Running running(small, gate_, [&](auto&) {
    if (++pieces == 2) gate_.pass();
  });
  ASSERT_TRUE(dev::wait_until([&] { return pieces == 2; }, kPatience));
  EXPECT_EQ(running.status().cursor.ordinal, 0U);
  EXPECT_TRUE(running.status().ready());
  EXPECT_TRUE(running.later(kLate).stalled) << "the second piece hangs";
  gate_.open();
  EXPECT_TRUE(dev::wait_until([&] { return running.status().cursor.ordinal == 8000; }, kPatience));
  EXPECT_TRUE(running.status().ready());
}

// A repair deletes what the source never had, and the stream's last sequence stays what it was.
TEST_F(ApplierStatus, IsReadyWhereTheNewestMessagesWereDeleted) {
  emit(5);
  for (const int seq : {4, 5}) nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", seq}});
  auto once = options();
  once.until_caught_up = true;
  const Running caught_up(once, gate_, [](auto&) {});
  EXPECT_TRUE(dev::wait_until([&] { return caught_up.status().state == ReadModelState::kEnded; },
                              kPatience))
      << to_string(caught_up.status().state);
  EXPECT_EQ(caught_up.status().cursor.ordinal, 3U);
  const Running running(options(), gate_, [](auto&) {});  // has nothing to commit
  EXPECT_TRUE(dev::wait_until([&] { return running.status().ready(); }, kPatience));
}

}  // namespace
}  // namespace postrider::test
