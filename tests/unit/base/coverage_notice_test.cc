#include "base/coverage_notice.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

const CoverageNotice kNotice{"7423908112345678901",
                             2,
                             Lsn{0x16B374D848},
                             "2026-01-02T03:04:05.123456789Z",
                             42,
                             {2, Lsn{0x16B3000000}, 7, std::nullopt},
                             3};
const std::string kText =
    "v1 7423908112345678901 2 16/B374D848 2026-01-02T03:04:05.123456789Z 42 "
    "00000002/00000016B3000000/00000007 3";

std::string with(const std::string& from, const std::string& to) {
  std::string text = kText;
  return text.replace(text.find(from), from.size(), to);
}

TEST(CoverageNotice, IsOneLineOfEightFields) {
  EXPECT_EQ(kNotice.to_string(), kText);
  EXPECT_EQ(CoverageNotice::parse(kText), kNotice);
}

TEST(CoverageNotice, BeforeTheFirstMessageHasNoPosition) {
  const CoverageNotice none{"1", 1, Lsn{0x1000000}, "t", 0, {}, 0};
  EXPECT_EQ(none.to_string(), "v1 1 1 0/1000000 t 0 - 0");
  EXPECT_EQ(CoverageNotice::parse(none.to_string()), none);
}

TEST(CoverageNotice, CarriesThePartOfASplitRow) {
  CoverageNotice split = kNotice;
  split.position.part = 3;
  EXPECT_EQ(CoverageNotice::parse(split.to_string()), split);
}

TEST(CoverageNotice, RefusesWhatIsNotExactlyItsText) {
  for (const auto& text :
       {std::string(),
        std::string("v1"),
        with("v1", "v2"),
        with("v1 ", "v1  "),
        kText + " ",
        kText + " x",
        " " + kText,
        with(" 3", ""),
        with("7423908112345678901", "-1"),
        with("7423908112345678901", "07423908112345678901"),
        with(" 2 ", " +2 "),
        with(" 2 ", " 02 "),
        with(" 2 ", " 4294967296 "),
        with("16/B374D848", "16/b374d848"),
        with("16/B374D848", "016/B374D848"),
        with("16/B374D848", "16B374D848"),
        with("2026-01-02T03", "2026-01-02 03"),
        with("2026-01-02T03", "2026-01-02\n03"),
        with(" 42 ", " 0 "),
        with(" 42 ", " 042 "),
        with(" 42 ", " 42\t"),
        with("00000002/00000016B3000000/00000007", "-"),
        with("/00000007", "/0000007"),
        with("42 00000002/00000016B3000000/00000007", "0 00000002/00000016B3000000/00000007")})
    EXPECT_FALSE(CoverageNotice::parse(text)) << text;
}

TEST(CoverageNotice, IsPublishedOutsideEveryStreamsSubjects) {
  EXPECT_EQ(coverage_subject("shop"), "POSTRIDER.covered.shop");
}

}  // namespace
}  // namespace postrider
