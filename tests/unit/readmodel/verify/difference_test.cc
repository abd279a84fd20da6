#include "readmodel/verify/difference.h"

#include <gmock/gmock.h>

namespace postrider {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Rows as "key=value" or "key=value*count", rising.
NextRow side(std::vector<std::string> rows) {
  return [rows = std::move(rows), at = std::size_t{0}]() mutable -> std::optional<BagRow> {
    if (at == rows.size()) return std::nullopt;
    std::string text = rows[at++];
    std::uint64_t count = 1;
    if (const auto star = text.find('*'); star != std::string::npos) {
      count = std::stoull(text.substr(star + 1));
      text.resize(star);
    }
    const auto key = text.substr(0, text.find('='));
    return BagRow{key, text, key, text, count};
  };
}

std::vector<std::string> found(std::vector<std::string> source, std::vector<std::string> target,
                               std::size_t limit = 100) {
  std::vector<std::string> texts;
  for (const auto& d :
       find_differences(side(std::move(source)), side(std::move(target)), limit).rows)
    texts.push_back(std::string(to_string(d.kind)) + " " + d.source_row.value_or("-") + " " +
                    d.target_row.value_or("-") + " " + std::to_string(d.source_count) + ":" +
                    std::to_string(d.target_count));
  return texts;
}

TEST(Difference, OfEqualBagsIsNone) {
  EXPECT_THAT(found({"a=1", "b=2*3"}, {"a=1", "b=2*3"}), IsEmpty());
  EXPECT_THAT(found({}, {}), IsEmpty());
}

TEST(Difference, NamesRowsThatOneSideLacks) {
  EXPECT_THAT(found({"a=1", "b=2"}, {"b=2", "c=3"}),
              ElementsAre("missing a=1 - 1:0", "surplus - c=3 0:1"));
}

TEST(Difference, ShowsBothRowsOfAKey) {
  EXPECT_THAT(found({"a=1", "b=2"}, {"a=1", "b=9"}), ElementsAre("different b=2 b=9 1:1"));
}

TEST(Difference, SeesARowThatIsThereMoreOften) {
  EXPECT_THAT(found({"a=1"}, {"a=1*2"}), ElementsAre("surplus a=1 a=1 1:2"));
  EXPECT_THAT(found({"a=1*3"}, {"a=1"}), ElementsAre("missing a=1 a=1 3:1"));
}

TEST(Difference, MatchesTheRowsOfOneKeyAsABag) {
  EXPECT_THAT(found({"a=1", "a=2", "a=4"}, {"a=2", "a=3"}),
              ElementsAre("different a=1 a=3 1:1", "missing a=4 - 1:0"));
}

TEST(Difference, StopsAtTheLimitAndSaysSo) {
  const auto result = find_differences(side({"a=1", "b=1", "c=1"}), side({}), 2);
  EXPECT_EQ(result.rows.size(), 2U);
  EXPECT_FALSE(result.complete);
  EXPECT_TRUE(find_differences(side({"a=1", "b=1"}), side({}), 2).complete);
}

}  // namespace
}  // namespace postrider
