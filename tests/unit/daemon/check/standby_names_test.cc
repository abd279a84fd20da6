#include "daemon/check/standby_names.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(StandbyNames, MatchInEveryFormThatTheSettingHas) {
  for (const char* setting :
       {"*", "a, *", "FIRST 1 (*)", "ANY 2 (a, *)", "postrider_shop", "a,postrider_shop",
        "\"postrider_shop\"", "POSTRIDER_Shop", "2 (a, postrider_shop)", "FIRST 1 (postrider_shop)",
        "ANY 1 (\"postrider_shop\" , b)", " postrider_shop "})
    EXPECT_TRUE(matches_standby_names(setting, "postrider_shop")) << setting;
}

TEST(StandbyNames, DoNotMatchPartsOfNames) {
  for (const char* setting :
       {"", "postrider", "postrider_shop2", "ANY 1 (a, b)", "\"postrider_shop \"",
        "\"a,postrider_shop\"", "\"\"", "FIRST 2 (postrider_other, c)"})
    EXPECT_FALSE(matches_standby_names(setting, "postrider_shop")) << setting;
}

}  // namespace
}  // namespace postrider
