#include "relay/capture/debezium.h"

#include <gtest/gtest.h>

#include "relay/capture/row_value.h"

namespace postrider {
namespace {

std::string value(std::uint32_t type, std::string_view text) {
  std::string out;
  append_debezium_value(out, type, text);
  return out;
}

TEST(Debezium, CountsTimestampsFrom1970) {
  EXPECT_EQ(timestamp_us("1970-01-01 00:00:00"), 0);
  EXPECT_EQ(timestamp_us("1969-12-31 23:59:59.5"), -500'000);
  EXPECT_EQ(timestamp_us("2026-01-01 00:00:00.000001"), 1'767'225'600'000'001);
  EXPECT_EQ(timestamp_us("2000-02-29 12:00:00"), 951'825'600'000'000);
  EXPECT_EQ(timestamp_us("0001-01-01 00:00:00 BC"), -62'167'219'200'000'000) << "the year 0";
  EXPECT_EQ(timestamp_us("294247-01-10 04:00:54.775807"), 9'223'372'036'854'775'807);
  EXPECT_EQ(timestamp_us("294276-12-31 23:59:59.999999"), std::nullopt) << "beyond 64 bits";
  EXPECT_EQ(timestamp_us("nonsense"), std::nullopt);
}

TEST(Debezium, MapsTypes) {
  EXPECT_EQ(value(pg_type::kDate, "1970-01-10"), "9");
  EXPECT_EQ(value(pg_type::kDate, "infinity"), "2147483647");
  EXPECT_EQ(value(pg_type::kTime, "00:00:01.5"), "1500000");
  EXPECT_EQ(value(pg_type::kTimestamptz, "2026-01-31 09:10:11.5+00"), "\"2026-01-31T09:10:11.5Z\"");
  EXPECT_EQ(value(pg_type::kTimestamptz, "infinity"), "\"infinity\"");
  EXPECT_EQ(value(pg_type::kTimestamptz, "no \"moment\"+00"), R"("no \"moment\"+00")")
      << "no server sends it, and it is JSON";
  EXPECT_EQ(value(pg_type::kBytea, "\\x"), "\"\"");
  EXPECT_EQ(value(pg_type::kBytea, "\\x4d"), "\"TQ==\"");
  EXPECT_EQ(value(pg_type::kBytea, "\\x4d61"), "\"TWE=\"");
  EXPECT_EQ(value(pg_type::kBytea, "\\x4d616e20"), "\"TWFuIA==\"");
  EXPECT_EQ(value(pg_type::kJson, "[1]"), "\"[1]\"");
  EXPECT_EQ(value(pg_type::kFloat8, "NaN"), "\"NaN\"");
  EXPECT_EQ(value(pg_type::kFloat8, "1e-05"), "1e-05");
  EXPECT_EQ(value(25, "text"), "\"text\"");
  EXPECT_EQ(value(pg_type::kDate, "5874897-12-31"), "2145042905");
  EXPECT_EQ(value(pg_type::kDate, "9223372036854775807-01-01"), "\"9223372036854775807-01-01\"")
      << "no server sends it, and nothing overflows";
}

}  // namespace
}  // namespace postrider
