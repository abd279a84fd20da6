#include "daemon/status/unpublished.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

constexpr std::size_t kLimit = 100;

TEST(Unpublished, IsWhatIsYoungerThanTheMessagesAndNotAmongThem) {
  const NewestMessages newest{{"b", "c"}, 100};
  const auto found =
      find_unpublished({{"d", 300}, {"c", 250}, {"e", 200}, {"a", 50}}, newest, kLimit);
  EXPECT_EQ(found.rows, 2U);
  EXPECT_EQ(found.oldest_us, 200);
  EXPECT_FALSE(found.at_least);
}

TEST(Unpublished, IsEveryRowWhileTheStreamHoldsNothing) {
  EXPECT_EQ(find_unpublished({{"a", 1}, {"b", 2}}, {}, kLimit).rows, 2U);
  EXPECT_EQ(find_unpublished({}, {}, kLimit).rows, 0U);
  EXPECT_EQ(find_unpublished({}, {}, kLimit).oldest_us, 0);
}

TEST(Unpublished, MayBeMoreWhereNoMoreRowsWereRead) {
  EXPECT_TRUE(find_unpublished({{"a", 1}, {"b", 2}}, {}, 2).at_least);
  EXPECT_FALSE(find_unpublished({{"a", 1}, {"b", 2}}, {{"a"}, 0}, 2).at_least);
}

}  // namespace
}  // namespace postrider
