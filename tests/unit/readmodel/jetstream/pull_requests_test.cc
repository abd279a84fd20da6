#include "readmodel/jetstream/pull_requests.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

using std::chrono::seconds;

class PullRequestsTest : public testing::Test {
 protected:
  void send(std::uint64_t messages) { requests_.on_sent(messages, now_); }
  void come(int messages) {
    for (int i = 0; i < messages; ++i) requests_.on_message(now_);
  }
  void end(std::uint64_t number, std::optional<std::uint64_t> pending) {
    requests_.on_end(number, RequestEnd::kDone, pending, now_);
  }
  void too_small(std::uint64_t number, std::uint64_t pending) {
    requests_.on_end(number, RequestEnd::kTooSmall, pending, now_);
  }
  void pass(seconds time) {
    for (seconds passed{0}; passed < time; ++passed) {
      now_ += seconds{1};
      requests_.on_time(now_);
    }
  }
  PullRequests requests_;
  PullRequests::Time now_{std::chrono::hours{1}};
};

TEST_F(PullRequestsTest, AreCountedTogetherAsTheyAreAnsweredInTurn) {
  send(100);
  send(100);
  EXPECT_EQ(requests_.newest(), 2U);
  come(130);
  EXPECT_EQ(requests_.under_way(), 70U);
  too_small(2, 30);  // the newer one has brought more bytes
  EXPECT_EQ(requests_.under_way(), 40U);
  end(1, 40);
  EXPECT_EQ(requests_.under_way(), 0U);
  EXPECT_FALSE(requests_.silent_since());
}

TEST_F(PullRequestsTest, AnEndThatDoesNotSayWhatIsLeftLeavesNothing) {
  send(100);
  end(1, {});
  EXPECT_EQ(requests_.under_way(), 0U);
}

TEST_F(PullRequestsTest, OneThatEndsWithoutAWordExpires) {
  send(100);
  come(40);  // its bytes are used up
  pass(seconds{5});
  EXPECT_EQ(requests_.under_way(), 60U);
  pass(seconds{2});
  EXPECT_EQ(requests_.under_way(), 0U);
  EXPECT_FALSE(requests_.silent_since()) << "it was answered";
  send(100);
  EXPECT_EQ(requests_.silent_since(), now_);
}

TEST_F(PullRequestsTest, SoDoesWhatIsLeftOfOlderOnes) {
  send(100);
  come(40);
  send(100);
  end(2, 100);
  EXPECT_EQ(requests_.under_way(), 60U);
  EXPECT_TRUE(requests_.silent_since());
  pass(seconds{7});
  EXPECT_EQ(requests_.under_way(), 0U);
  EXPECT_FALSE(requests_.silent_since());
}

TEST_F(PullRequestsTest, ThatAreLostAreASilenceHoweverOftenTheyAreSent) {
  const auto begin = now_;
  send(100);
  pass(seconds{7});
  EXPECT_EQ(requests_.under_way(), 0U) << "so that it can be sent again";
  send(100);
  EXPECT_EQ(requests_.silent_since(), begin);
  come(1);
  EXPECT_EQ(requests_.silent_since(), now_);
}

TEST_F(PullRequestsTest, AMessageThatNoRequestHasRoomForIsAskedForAlone) {
  send(100);
  come(10);
  too_small(1, 90);
  EXPECT_FALSE(requests_.next_is_large()) << "others had used its bytes";
  send(100);
  too_small(2, 100);
  EXPECT_TRUE(requests_.next_is_large());
  send(1);
  EXPECT_FALSE(requests_.next_is_large());
  come(1);
  EXPECT_EQ(requests_.under_way(), 0U);
}

TEST_F(PullRequestsTest, AMessageIsFoundLargeAlsoWhileSomethingElseIsCounted) {
  send(100);
  come(40);  // and it ended without a word
  send(100);
  too_small(2, 100);
  EXPECT_TRUE(requests_.next_is_large());
  send(100);
  too_small(2, 0);  // an older one's
  EXPECT_FALSE(requests_.next_is_large());
}

}  // namespace
}  // namespace postrider
