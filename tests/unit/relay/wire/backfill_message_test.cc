#include "relay/wire/backfill_message.h"

#include <gtest/gtest.h>

#include <string>

namespace postrider::wire {
namespace {

TEST(BackfillMessage, DescribesItsTable) {
  const std::string content =
      "{\"v\":1,\"kind\":\"rows\",\"schema\":\"public\",\"table\":\"t\\n\",\"identity\":\"i\","
      "\"columns\":[[\"id\",23,true],[\"v\",25,false]]}\n(1,x)";
  const auto split = split_backfill_message(as_bytes(content));
  ASSERT_TRUE(split);
  EXPECT_EQ(split->records, "(1,x)");
  const auto header = BackfillHeader::parse(split->header);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->kind(), BackfillKind::kRows);
  const Relation relation = header->relation();
  EXPECT_EQ(relation.schema, "public");
  EXPECT_EQ(relation.name, "t\n");
  EXPECT_EQ(relation.identity, ReplicaIdentity::kIndex);
  ASSERT_EQ(relation.columns.size(), 2U);
  EXPECT_EQ(relation.columns[0].name, "id");
  EXPECT_EQ(relation.columns[0].type, 23U);
  EXPECT_TRUE(relation.columns[0].key);
  EXPECT_FALSE(relation.columns[1].key);
}

TEST(BackfillMessage, WhatABackfillDidNotWriteIsRefused) {
  EXPECT_EQ(split_backfill_message(as_bytes("{}")).error().kind, ErrorKind::kMalformedEvent);
  for (const char* header :
       {"", "x", "{}", R"({"v":2,"kind":"start"})", R"({"v":1,"kind":"other"})",
        R"({"v":1,"kind":"rows"})", R"({"v":1e20,"kind":"start"})", R"({"v":true,"kind":"start"})",
        R"({"v":4294967297,"kind":"start"})",
        R"({"v":1,"kind":"rows","schema":"s","table":"t","identity":"d","columns":[["id",23]]})",
        R"({"v":1,"kind":"rows","schema":"s","table":"t","identity":"d","columns":[[1,2,3]]})"}) {
    const auto parsed = BackfillHeader::parse(header);
    ASSERT_FALSE(parsed) << header;
    EXPECT_EQ(parsed.error().kind, ErrorKind::kMalformedEvent);
  }
}

}  // namespace
}  // namespace postrider::wire
