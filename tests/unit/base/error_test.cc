#include "base/error.h"

#include <gtest/gtest.h>

#include <set>

namespace postrider {
namespace {

TEST(Error, EachHaltHasAnExitCodeOfItsOwn) {
  std::set<int> codes;
  for (int i = 0; i <= static_cast<int>(ErrorKind::kInternal); ++i) {
    const auto& kind = info(static_cast<ErrorKind>(i));
    if (kind.disposition == Disposition::kRetry) {
      EXPECT_EQ(kind.exit_code, 75) << kind.name;
      continue;
    }
    EXPECT_TRUE(codes.insert(kind.exit_code).second) << kind.name;
    EXPECT_TRUE((kind.exit_code >= 20 && kind.exit_code < 60) || kind.exit_code == 70 ||
                kind.exit_code == 78)
        << kind.name;
  }
}

TEST(Error, TextHasKindContextAndRemedy) {
  const Error error{ErrorKind::kSlotMissing, "slot x is gone", "put it back"};
  EXPECT_EQ(error.to_string(), "slot_missing: slot x is gone\n  remedy: put it back");
}

}  // namespace
}  // namespace postrider
