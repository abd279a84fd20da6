// A read model that a C++ service keeps: what its handler may do wrong.
#include <postrider/consumer.h>

#include "tests/support/readmodel_world.h"

namespace postrider::test {
namespace {

class HandlerOf : public ReadModelWorld {
 protected:
  HandlerOf() {
    applier_sql("CREATE TABLE seen (key text PRIMARY KEY); INSERT INTO seen VALUES ('taken')");
  }
  [[nodiscard]] ConsumerOptions options() const {
    ConsumerOptions options;
    options.name = "seen";
    options.source = kSource;
    options.target_conninfo = target_conninfo("applier");
    options.nats_url = nats_.url();
    options.until_caught_up = true;
    return options;
  }
  void emit(const std::string& key) { app_sql("SELECT outbox.emit('e', '{}', '" + key + "')"); }
  // How run() ended: the kind of the error and what it says, or nothing.
  static std::string end_of(const ConsumerOptions& options, Consumer::Handler handler) {
    Consumer consumer(options, std::move(handler));
    try {
      consumer.run();
    } catch (const ConsumerError& e) {
      return e.kind() + ": " + e.what();
    }
    return {};
  }
  [[nodiscard]] std::string keys() {
    return target_sql("SELECT string_agg(key, ' ' ORDER BY key) FROM seen");
  }
  [[nodiscard]] std::string cursor() {
    return target_sql("SELECT ordinal FROM postrider.cursor WHERE readmodel = 'seen'");
  }
  // With parameters or without: libpqxx sends them by different ways.
  static void insert(pqxx::transaction_base& tx, const std::string& key, bool with_parameters) {
    if (with_parameters)
      tx.exec_params("INSERT INTO seen VALUES ($1)", key);
    else
      tx.exec("INSERT INTO seen VALUES (" + tx.quote(key) + ")");
  }
  // Its last statement fails, and the handler does not want to know.
  static Consumer::Handler swallowing(bool with_parameters) {
    return [with_parameters](auto& tx, std::span<const ReceivedEvent> events) {
      for (const auto& event : events) {
        try {
          insert(tx, *event.key, with_parameters);
        } catch (const pqxx::unique_violation&) {
        }
      }
    };
  }
};

TEST_F(HandlerOf, ASwallowedErrorIsARefusalAndNoCommit) {
  for (const char* key : {"a", "taken", "b"}) emit(key);
  catch_up();
  for (const bool with_parameters : {false, true}) {
    const auto end = end_of(options(), swallowing(with_parameters));
    EXPECT_TRUE(end.starts_with("poison_event: ")) << end;
    EXPECT_NE(end.find("caught an SQL error"), std::string::npos) << end;
    EXPECT_EQ(keys(), "a taken");
    EXPECT_EQ(cursor(), "1") << "the cursor does not move without the rows";
    EXPECT_EQ(target_sql("SELECT first_ordinal || sqlstate FROM postrider.stopped"), "225P02");
    target_sql("DELETE FROM postrider.stopped; UPDATE postrider.cursor SET ordinal = ordinal");
  }
}

// What was swallowed may have been a deadlock: nobody knows whether the event was at fault.
TEST_F(HandlerOf, ASwallowedErrorParksNothing) {
  emit("taken");
  catch_up();
  auto parking = options();
  parking.park_refused = true;
  EXPECT_TRUE(end_of(parking, swallowing(false)).starts_with("poison_event: "));
  EXPECT_EQ(target_sql("SELECT count(*) FROM postrider.parked"), "0");
}

TEST_F(HandlerOf, WhateverItThrowsIsARefusal) {
  emit("a");
  catch_up();
  const auto end = end_of(options(), [](auto&, auto) { throw 7; });
  EXPECT_TRUE(end.starts_with("poison_event: ")) << end;
  EXPECT_EQ(target_sql("SELECT projection FROM postrider.stopped"), "handler");
}

TEST(ConsumerOptionsTest, ThatCannotWorkAreRefused) {
  const auto refused = [](auto change) {
    ConsumerOptions options;
    options.name = "seen";
    options.source = "shop";
    change(options);
    try {
      const Consumer consumer(options, [](auto&, auto) {});
      return std::string();
    } catch (const ConsumerError& e) {
      return e.kind() + " " + e.what();
    }
  };
  using Options = ConsumerOptions;
  EXPECT_EQ(refused([](Options&) {}), "");
  EXPECT_EQ(refused([](Options& o) { o.stream = "My_stream-2"; }), "");
  EXPECT_EQ(refused([](Options& o) { o.batch_bytes = 0; }),
            "configuration ConsumerOptions::batch_bytes must not be 0");
  for (const auto& change : std::vector<std::function<void(Options&)>>{
           [](Options& o) { o.name = ""; }, [](Options& o) { o.name = "Seen"; },
           [](Options& o) { o.name = std::string(41, 'a'); },
           [](Options& o) { o.source = "shop.eu"; }, [](Options& o) { o.stream = "a b"; },
           [](Options& o) { o.batch_events = 0; },
           [](Options& o) { o.takeover_after = std::chrono::milliseconds(999); }})
    EXPECT_NE(refused(change), "");
}

TEST_F(HandlerOf, AnErrorCaughtAroundASubtransactionIsNone) {
  for (const char* key : {"a", "taken", "b"}) emit(key);
  catch_up();
  const auto end = end_of(options(), [](auto& tx, std::span<const ReceivedEvent> events) {
    for (const auto& event : events) {
      try {
        pqxx::subtransaction attempt(tx);
        insert(attempt, *event.key, false);
        attempt.commit();
      } catch (const pqxx::unique_violation&) {
      }
    }
  });
  EXPECT_EQ(end, "");
  EXPECT_EQ(keys(), "a b taken");
  EXPECT_EQ(cursor(), "3");
}

}  // namespace
}  // namespace postrider::test
