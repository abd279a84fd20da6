// The checker must see every kind of damage, or no fault test means anything.
#include "tests/support/checker.h"

#include <gtest/gtest.h>

namespace postrider::test {
namespace {

class Checker : public ::testing::Test {
 protected:
  Checker() {
    for (int i = 0; i < 6; ++i) {
      const auto n = std::to_string(i);
      expected_.push_back({"id" + n, std::to_string(100 + i / 2)});  // two events a transaction
      written_["id" + n] = {"a.b", "payload" + n};
      stream_.push_back({static_cast<std::uint64_t>(i + 1),
                         "shop.a.b",
                         {{"Postrider-Id", "id" + n},
                          {"Postrider-Position", "v1 " + std::to_string(i + 1) + " 1/" + n + "/0 " +
                                                     expected_.back().xid + " 5 1" +
                                                     (i % 2 == 1 ? " last" : "")}},
                         "payload" + n});
    }
  }
  Verdict judge() { return compare(stream_, expected_, written_, "shop"); }

  std::vector<StreamMessage> stream_;
  std::vector<ExpectedEvent> expected_;
  std::map<std::string, Written> written_;
};

TEST_F(Checker, AcceptsWhatIsRight) {
  EXPECT_TRUE(judge().good()) << judge();
}

TEST_F(Checker, AnEmptyExpectationIsNotGood) {
  EXPECT_FALSE(compare({}, {}, {}, "shop").good());
}

TEST_F(Checker, SeesALostEvent) {
  stream_.erase(stream_.begin() + 2);
  EXPECT_EQ(judge().lost, 1U);
}

TEST_F(Checker, SeesALostTail) {
  stream_.pop_back();
  EXPECT_EQ(judge().lost, 1U);
}

TEST_F(Checker, SeesADuplicate) {
  stream_.insert(stream_.begin() + 3, stream_[2]);
  EXPECT_EQ(judge().duplicated, 1U);
}

TEST_F(Checker, SeesTwoEventsSwapped) {
  std::swap(stream_[2], stream_[3]);
  EXPECT_GT(judge().out_of_order, 0U);
}

TEST_F(Checker, SeesAnEventThatNobodyCommitted) {
  stream_[4].headers[0].second = "other";
  EXPECT_EQ(judge().foreign, 1U);
}

TEST_F(Checker, SeesAMissingLastFlag) {
  auto& header = stream_[3].headers[1].second;
  header.erase(header.find(" last"));
  EXPECT_EQ(judge().malformed, 1U);
}

TEST_F(Checker, SeesAWrongOrdinal) {
  stream_[3].headers[1].second = "v1 5 1/3/0 101 5 1 last";
  EXPECT_EQ(judge().malformed, 1U);
}

TEST_F(Checker, SeesAnAlteredPayload) {
  stream_[0].data += "x";
  EXPECT_EQ(judge().altered, 1U);
}

TEST_F(Checker, SeesAWrongSubject) {
  stream_[0].subject = "shop.a.c";
  EXPECT_EQ(judge().altered, 1U);
}

}  // namespace
}  // namespace postrider::test
