// Replica tables: from the service's SQL to the same rows in another database, compared by
// PostgreSQL itself.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/replica_world.h"

namespace postrider::test {
namespace {

constexpr int kHalted = 42;
constexpr int kPoison = 41;
constexpr const char* kAll = "[[capture]]\ntables = [\"public.*\"]\nexclude = []\n";

class Replica : public ReplicaWorld {
 protected:
  Replica() { sql("DROP TABLE holder CASCADE"); }
  // A table on both sides, as the same statement makes it.
  void both(const std::string& statements) {
    app_sql(statements);
    applier_sql(statements);
  }
  void capture(const std::string& tables, const std::string& replica_keys = {}) {
    replicate("[[capture]]\ntables = [" + tables + "]\n", "[[replica]]\n" + replica_keys + "\n");
  }
};

TEST_F(Replica, FollowsEveryKindOfChange) {
  both("CREATE TABLE item (id int PRIMARY KEY, name text, big text)");
  app_sql("ALTER TABLE item ALTER big SET STORAGE EXTERNAL");
  capture("\"public.item\"");
  app_sql("INSERT INTO item SELECT i, 'n' || i, repeat('b', 9000) FROM generate_series(1, 9) i");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  app_sql("UPDATE item SET name = 'changed' WHERE id <= 4");
  app_sql("UPDATE item SET id = id + 9 WHERE id = 2");  // the large value is not touched
  app_sql("DELETE FROM item WHERE id = 3");
  app_sql("BEGIN; DELETE FROM item WHERE id = 4; INSERT INTO item VALUES (4, 'again'); COMMIT");
  app_sql("UPDATE item SET big = NULL WHERE id = 5");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  EXPECT_EQ(target_sql("SELECT count(*), max(length(big)) FROM item"), "8");
  EXPECT_EQ(verify(), 0) << output();
  EXPECT_NE(output().find("public.item"), std::string::npos) << output();
  app_sql("BEGIN; TRUNCATE item; INSERT INTO item VALUES (1, 'new'); COMMIT");
  ASSERT_EQ(carry(), 0) << applied_log();
  expect_same("item");
  applier_sql("UPDATE item SET name = 'touched'");
  EXPECT_EQ(verify(), 1) << output();
}

}  // namespace
}  // namespace postrider::test
