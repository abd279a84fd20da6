#include "readmodel/replica/statements.h"

#include <gtest/gtest.h>

#include "readmodel/replica/table_order.h"

namespace postrider::replica {
namespace {

TargetTable table() {
  TargetTable t;
  t.schema = "s";
  t.name = "o\"t";
  t.columns = {{"id", "integer", false, false, false},
               {"n", "text", false, false, false},
               {"j", "json", true, false, false}};
  t.key = {{0, "OPERATOR(pg_catalog.=)"}};
  return t;
}

Cell value(std::string_view json) {
  return {Cell::Kind::kValue, json};
}
const Cell kNull{Cell::Kind::kNull, {}};
const Cell kAbsent{};

TEST(Statements, UpsertWritesRowsWithTheSameColumnsTogether) {
  const std::vector<Cells> rows = {{value("1"), value(R"("o'k\n")"), value(R"( "x" )")},
                                   {value("2"), kNull, value("null")},
                                   {value("3"), kAbsent, kAbsent}};
  const auto statements = upsert(table(), rows);
  ASSERT_EQ(statements.size(), 2U);
  EXPECT_EQ(statements[0].rows, 2U);
  EXPECT_EQ(statements[0].sql,
            "INSERT INTO \"s\".\"o\"\"t\" (\"id\", \"n\", \"j\") OVERRIDING SYSTEM VALUE VALUES "
            "('1','o''k\n',' \"x\" '),('2',NULL,'null') ON CONFLICT (\"id\") DO UPDATE SET "
            "\"n\" = excluded.\"n\", \"j\" = excluded.\"j\"");
  EXPECT_EQ(statements[1].sql,
            "INSERT INTO \"s\".\"o\"\"t\" (\"id\") OVERRIDING SYSTEM VALUE VALUES ('3') "
            "ON CONFLICT (\"id\") DO NOTHING");
}

TEST(Statements, AreCutAtTheirBound) {
  const std::string large = "\"" + std::string(kStatementBytes / 2, 'x') + "\"";
  const std::vector<Cells> rows(5, Cells{value("1"), value(large), kNull});
  std::size_t written = 0;
  for (const auto& statement : insert(table(), rows)) {
    EXPECT_LT(statement.sql.size(), 2 * kStatementBytes);
    written += statement.rows;
  }
  EXPECT_EQ(written, 5U);
}

TEST(Statements, FindRowsByTheKeysOwnOperatorAndType) {
  const std::vector<Cells> rows = {{value("1"), value("\"a\""), kAbsent},
                                   {value("2"), kNull, kAbsent}};
  EXPECT_EQ(erase(table(), rows).at(0).sql,
            "DELETE FROM ONLY \"s\".\"o\"\"t\" t USING (VALUES ('1'::integer),('2')) v (\"id\") "
            "WHERE t.\"id\" OPERATOR(pg_catalog.=) v.\"id\"");
  EXPECT_EQ(
      patch(table(), rows).at(0).sql,
      "UPDATE ONLY \"s\".\"o\"\"t\" t SET \"n\" = v.\"n\" FROM (VALUES ('1'::integer,'a'::text),"
      "('2',NULL)) v (\"id\", \"n\") WHERE t.\"id\" OPERATOR(pg_catalog.=) v.\"id\"");
  EXPECT_EQ(move(table(), rows[0], rows[1]),
            "UPDATE ONLY \"s\".\"o\"\"t\" t SET \"id\" = '2', \"n\" = NULL WHERE t.\"id\" "
            "OPERATOR(pg_catalog.=) '1'::integer");
}

TEST(Statements, FindRowsOfAPartitionedTableInItsPartitions) {
  TargetTable partitioned = table();
  partitioned.partitioned = true;
  EXPECT_EQ(truncate({&partitioned}), "DELETE FROM \"s\".\"o\"\"t\"");
}

TEST(Statements, TruncateEmptiesTablesInOneStatement) {
  const TargetTable one = table();
  TargetTable two = table();
  two.name = "two";
  EXPECT_EQ(truncate({&one}), "DELETE FROM ONLY \"s\".\"o\"\"t\"");
  EXPECT_EQ(truncate({&one, &two}),
            "WITH d0 AS (DELETE FROM ONLY \"s\".\"o\"\"t\") DELETE FROM ONLY \"s\".\"two\"");
}

TEST(TableOrder, PutsParentsFirstAndBearsCircles) {
  TargetTable line, order, customer, circle;
  line.oid = 1;
  line.parents = {2, 99, 1};
  order.oid = 2;
  order.parents = {3, 4};
  customer.oid = 3;
  circle.oid = 4;
  circle.parents = {2};
  EXPECT_EQ(parents_first({&line, &order, &circle, &customer}),
            (std::vector<const TargetTable*>{&customer, &circle, &order, &line}));
}

}  // namespace
}  // namespace postrider::replica
