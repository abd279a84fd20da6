#include "base/jetstream/server_version.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(ServerVersion, IsThreeNumbersAndWhateverFollows) {
  const auto version = parse_server_version("2.11.0-preview.2");
  ASSERT_TRUE(version.has_value());
  EXPECT_EQ(version->major, 2);
  EXPECT_EQ(version->minor, 11);
  EXPECT_EQ(version->patch, 0);
  EXPECT_EQ(version->text, "2.11.0-preview.2");
  for (const char* text : {"", "2", "2.10", "2.10.", "v2.10.1", "2.-1.0", "2,10,1"})
    EXPECT_FALSE(parse_server_version(text).has_value()) << text;
}

TEST(ServerVersion, IsComparedByNumbersAndBothEndsBelong) {
  const ServerVersion first{2, 10, 14, ""};
  const ServerVersion last{2, 10, 29, ""};
  for (const char* text : {"2.10.14", "2.10.20", "2.10.29"})
    EXPECT_TRUE(parse_server_version(text)->between(first, last)) << text;
  for (const char* text : {"2.9.99", "2.10.2", "2.10.13", "2.10.30", "2.11.0", "3.0.0"})
    EXPECT_FALSE(parse_server_version(text)->between(first, last)) << text;
}

TEST(ServerVersion, StandsInTheGreeting) {
  EXPECT_EQ(parse_greeting(R"(INFO {"server_id":"N","version":"2.9.10","proto":1} )")->text,
            "2.9.10");
  for (const char* line :
       {"", "INFO", "INFO {}", "INFO {\"version\":2}", "INFO [", "+OK", "HTTP/1.1 400 Bad Request"})
    EXPECT_FALSE(parse_greeting(line).has_value()) << line;
}

}  // namespace
}  // namespace postrider
