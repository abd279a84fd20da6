// Replicas while relay, applier and target die: at the end, and at a place in between, they are
// equal to their source, which `postrider verify` and PostgreSQL's own text of the rows say.
#include <random>
#include <thread>

#include "tests/support/replica_world.h"

namespace postrider::test {
namespace {

constexpr std::chrono::milliseconds kPatience{90'000};

// Large values that stay where they are, keys that move, rows made anew, truncation, parents and
// children, unique values that are handed on, a table without key, transactions that roll back.
constexpr const char* kTables = R"(
CREATE TABLE item (id int PRIMARY KEY, v int, big text);
CREATE TABLE pair (a text, b numeric, v int, big text, PRIMARY KEY (a, b));
CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent, big text);
CREATE TABLE bag (v int, j json);
ALTER TABLE bag REPLICA IDENTITY FULL;)";

constexpr const char* kExternal = R"(
ALTER TABLE item ALTER big SET STORAGE EXTERNAL;
ALTER TABLE pair ALTER big SET STORAGE EXTERNAL;
ALTER TABLE child ALTER big SET STORAGE EXTERNAL;
CREATE PROCEDURE churn(seed double precision, rounds int, keys int DEFAULT 30, truncates bool DEFAULT true) LANGUAGE plpgsql AS $$
DECLARE r int; k int; m int; large text;
BEGIN
  PERFORM setseed(seed);
  FOR i IN 1..rounds LOOP
    r := floor(random() * 100); k := floor(random() * keys); m := floor(random() * keys);
    large := repeat(chr(97 + i % 26), 3000);
    BEGIN
      CASE
        WHEN r < 12 THEN INSERT INTO item VALUES (k, i, large) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
        WHEN r < 20 THEN UPDATE item SET v = i WHERE id = k;
        WHEN r < 28 THEN UPDATE item SET id = m WHERE id = k;
        WHEN r < 33 THEN DELETE FROM item WHERE id = k;
        WHEN r < 36 THEN UPDATE item SET big = NULL WHERE id = k;
        WHEN r < 38 THEN DELETE FROM item WHERE id = k; INSERT INTO item VALUES (k, i, NULL);
        WHEN r < 46 THEN INSERT INTO pair VALUES ('k' || k % 4, m % 4 + CASE WHEN r % 2 = 0 THEN 0.0 ELSE 0.00 END, i, large);
        WHEN r < 52 THEN UPDATE pair SET v = i WHERE b = m % 4;
        WHEN r < 56 THEN UPDATE pair SET b = b + 0.000 WHERE a = 'k' || k % 4 AND (keys = 30 OR b = m);
        WHEN r < 59 THEN DELETE FROM pair WHERE a = 'k' || k % 4 AND (keys = 30 OR b = m);
        WHEN r < 68 THEN INSERT INTO parent VALUES (k, 'c' || m);
        WHEN r < 74 THEN INSERT INTO child VALUES (i, k, large);
        WHEN r < 79 THEN UPDATE child SET parent = m WHERE parent = k;
        WHEN r < 83 THEN DELETE FROM child WHERE parent = k; DELETE FROM parent WHERE id = k;
        WHEN r < 87 THEN UPDATE parent SET code = 'x' WHERE id = k; UPDATE parent SET code = 'c' || k WHERE id = m;
          UPDATE parent SET code = 'c' || m WHERE id = k;
        WHEN r < 91 THEN INSERT INTO bag VALUES (k, '{"a":  1}'), (k, NULL);
        WHEN r < 93 THEN UPDATE bag SET v = m WHERE v = k;
        WHEN r < 95 THEN DELETE FROM bag WHERE v = k;
        WHEN r < 98 THEN INSERT INTO item VALUES (k, -1, 'aborted'); RAISE EXCEPTION 'roll this back';
        WHEN NOT truncates THEN NULL;
        WHEN r < 99 THEN TRUNCATE item;
        ELSE TRUNCATE parent, child, bag;
      END CASE;
    EXCEPTION WHEN unique_violation OR foreign_key_violation OR raise_exception THEN NULL;
    END;
    IF i % (1 + m % 30) = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;)";

class ReplicaOfChurn : public ReplicaWorld {
 protected:
  ReplicaOfChurn() { sql(std::string(kTables) + kExternal); }
  std::uint64_t applied() {
    const auto text = target_sql("SELECT ordinal FROM postrider.cursor WHERE readmodel = 'copy'");
    return text.empty() ? 0 : std::stoull(text);
  }
  [[nodiscard]] bool wait_until_applied(std::uint64_t ordinal) {
    return dev::wait_until(
        [&] {
          try {
            return applied() >= ordinal;
          } catch (const std::runtime_error&) {
            return false;  // the target is away
          }
        },
        kPatience);
  }
  int verify_now() { return postrider({"verify", "copy", "--config", replica_config("verify")}); }
};

class ReplicaCrash : public ReplicaOfChurn {
 protected:
  ReplicaCrash() {
    applier_sql(kTables);
    replicate("[[capture]]\ntables = [\"public.*\"]\n", "[[replica]]\n", "batch_events = 300");
  }
  void expect_equal() {
    for (const char* table : {"item", "pair", "parent", "child", "bag"}) expect_same(table);
  }
};

TEST_F(ReplicaCrash, UnderKillsOfEveryPartEndsEqualToItsSource) {
  auto relay = start("relay");
  auto applier = start("apply");
  std::mt19937 random(20261125);
  for (int round = 0; round < 10; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    std::thread writer([&] { sql("CALL churn(" + std::to_string(0.01 * (round + 1)) + ", 600)"); });
    const auto before = last_seq();
    EXPECT_TRUE(wait_for_seq(before + 50 + random() % 100, kPatience)) << relay->log();
    switch (round % 4) {
      case 0:
        applier->kill();
        applier = start("apply");
        break;
      case 1:
        relay->kill();
        relay = start("relay");
        break;
      case 2:
        EXPECT_TRUE(target_.stop(dev::Shutdown::kKill));
        target_.start();
        break;
      default:
        applier->kill();
        relay->kill();
        applier = start("apply");
        relay = start("relay");
        break;
    }
    writer.join();
    if (round % 3 == 2) {
      EXPECT_EQ(verify_now(), 0) << output();
    }
    if (HasFailure()) return;
  }
  relay->terminate();
  ASSERT_TRUE(relay->wait(kPatience).has_value()) << relay->log();
  ASSERT_EQ(start("relay", {}, {"--until-caught-up"})->wait(kPatience), 0);
  ASSERT_TRUE(wait_until_applied(last_seq())) << applier->log();
  EXPECT_GT(last_seq(), 2000U);
  expect_equal();
}

class ReplicaCrashAt : public ReplicaCrash, public ::testing::WithParamInterface<std::string> {};

TEST_P(ReplicaCrashAt, WritesNothingTwiceAndLeavesNothingOut) {
  sql("CALL churn(0.5, 1500)");
  ASSERT_EQ(start("relay", {}, {"--until-caught-up"})->wait(kPatience), 0);
  for (const int pass : {1, 3}) {
    const auto doomed = start("apply", GetParam() + "=kill@" + std::to_string(pass));
    ASSERT_TRUE(doomed->wait(kPatience).has_value()) << "the failpoint was never passed";
  }
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_equal();
}

INSTANTIATE_TEST_SUITE_P(Failpoints, ReplicaCrashAt,
                         ::testing::Values("apply.after_cursor", "apply.before_commit",
                                           "apply.after_commit"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (auto& c : name)
                             if (c == '.') c = '_';
                           return name;
                         });

// Rows that were there before, and services that change them meanwhile.
class ReplicaBackfill : public ReplicaOfChurn {
 protected:
  ReplicaBackfill() {
    sql("INSERT INTO item SELECT i, 0, repeat('i', 3000) FROM generate_series(0, 2999) i; INSERT "
        "INTO pair SELECT 'k' || i % 4, i + 0.00, 0, repeat('p', 3000) FROM generate_series(0, "
        "1999) i; INSERT INTO bag SELECT i % 7, '{}' FROM generate_series(1, 50) i; GRANT SELECT, "
        "UPDATE ON ALL TABLES IN SCHEMA public TO owner");
    replicate(
        "[[capture]]\ntables = [\"public.item\", \"public.pair\"]\nbackfill = true\n"
        "[[capture]]\ntables = [\"public.bag\"]\n",
        "[[replica]]\ncreate = true\n", "batch_events = 300");
  }
  bool all_complete() {
    return sql("SELECT count(*) FILTER (WHERE state = 'complete') >= 2 AND bool_and(state = "
               "'complete') FROM outbox.backfill") == "t";
  }
};

TEST_F(ReplicaBackfill, UnderChangesAndKillsEndsEqualToItsSource) {
  auto relay = start("relay");
  auto applier = start("apply");
  std::mt19937 random(20261125);
  for (int round = 0; round < 8; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    std::thread writer(
        [&] { sql("CALL churn(" + std::to_string(0.05 * (round + 1)) + ", 500, 3000, false)"); });
    EXPECT_TRUE(wait_for_seq(last_seq() + 100 + random() % 300, kPatience)) << relay->log();
    if (round % 2 == 0) {
      applier->kill();
      applier = start("apply");
    } else {
      relay->kill();
      relay = start("relay");
    }
    writer.join();
    if (HasFailure()) return;
  }
  ASSERT_TRUE(dev::wait_until([&] { return all_complete(); }, kPatience)) << relay->log();
  EXPECT_EQ(verify_now(), 1) << "the table without key is not backfilled yet: " << output();
  ASSERT_EQ(postrider({"backfill", "start", "public.bag", "--replace", "--follow", "--config",
                       replica_config("backfill")}),
            0)
      << output();
  sql("CALL churn(0.9, 300, 3000, false)");
  EXPECT_EQ(verify_now(), 0) << output();
  ASSERT_TRUE(wait_until_applied(last_seq())) << applier->log();
  for (const char* table : {"item", "pair", "bag"}) expect_same(table);
}

}  // namespace
}  // namespace postrider::test
