#include "postrider/lsn.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(Lsn, PrintsAsPostgresDoes) {
  EXPECT_EQ(Lsn{0x16B374D848}.to_string(), "16/B374D848");
  EXPECT_EQ(Lsn{}.to_string(), "0/0");
  EXPECT_EQ(Lsn{~0ULL}.to_string(), "FFFFFFFF/FFFFFFFF");
}

TEST(Lsn, ReadsWhatItPrints) {
  for (const std::uint64_t value : {0ULL, 1ULL, 0x100000000ULL, 0x16B374D848ULL, ~0ULL})
    EXPECT_EQ(Lsn::parse(Lsn{value}.to_string()), Lsn{value});
}

TEST(Lsn, RefusesAnythingElse) {
  for (const auto* text :
       {"", "/", "0", "0/", "/0", "0/0 ", " 0/0", "0x1/0", "-1/0", "1/2/3", "123456789/0", "0/G"})
    EXPECT_FALSE(Lsn::parse(text)) << text;
}

}  // namespace
}  // namespace postrider
