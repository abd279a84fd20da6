#include "readmodel/status.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

using std::chrono::milliseconds;

class ReadModelBoardTest : public testing::Test {
 protected:
  template <class Change>
  void change(Change change) {
    board.update(change);
  }
  void attempt() {
    change([&](auto& status) { status.pending_since = begin; });
  }
  void fail() {
    change([](auto& status) {
      status.state = ReadModelState::kWaiting;
      status.error = status.error_kind = "postgres_unavailable";
    });
  }
  [[nodiscard]] ReadModelStatus late() const {
    return board.read(begin + kReadModelStalledAfter + milliseconds(1));
  }

  const ReadModelStatus::Time begin{std::chrono::hours(1)};
  ReadModelBoard board;
};

TEST_F(ReadModelBoardTest, IsNotReadyBeforeSomethingIsCommittedOrThereIsNothingToCommit) {
  EXPECT_FALSE(board.read().ready());
  change([](auto& status) { status.goes_on(); });
  EXPECT_TRUE(board.read().ready());
  EXPECT_EQ(board.read().state, ReadModelState::kRunning);
}

// The writer hangs: nothing on the board changes.
TEST_F(ReadModelBoardTest, SaysThatItStallsOnceSomethingIsPendingForTooLong) {
  change([](auto& status) { status.goes_on(); });
  EXPECT_FALSE(late().stalled) << "nothing is pending, however long";
  attempt();
  EXPECT_FALSE(board.read(begin + kReadModelStalledAfter).stalled);
  EXPECT_TRUE(board.read(begin + kReadModelStalledAfter).ready());
  EXPECT_TRUE(late().stalled);
  EXPECT_FALSE(late().ready());
  change([](auto& status) { status.goes_on(); });
  EXPECT_FALSE(late().stalled);
  EXPECT_TRUE(late().ready());
}

TEST_F(ReadModelBoardTest, StallsAlsoWhereEverySessionFailsAndNotWhereItWaitsForAPerson) {
  attempt();
  fail();
  EXPECT_TRUE(late().stalled);
  for (const auto state : {ReadModelState::kStopped, ReadModelState::kStandby}) {
    change([&](auto& status) { status.waits(state); });
    EXPECT_FALSE(late().stalled) << static_cast<int>(state);
    change([](auto& status) { status.begins(); });
    EXPECT_FALSE(late().stalled) << "what was pending before the wait";
    attempt();
  }
  change([](auto& status) { status.state = ReadModelState::kHalted; });
  EXPECT_FALSE(late().stalled);
}

TEST_F(ReadModelBoardTest, IsReadyAsStandbyThoughAnEarlierSessionFailed) {
  fail();
  change([](auto& status) { status.waits(ReadModelState::kStandby); });
  EXPECT_TRUE(late().ready());
}

// It is committed with its last piece alone, which may be long.
TEST_F(ReadModelBoardTest, CountsAPieceOfALargeTransactionAsProgress) {
  attempt();
  change([](auto& status) { status.piece_applied(100); });
  EXPECT_TRUE(late().ready());
  attempt();
  EXPECT_TRUE(late().stalled) << "the next one hangs";
}

TEST_F(ReadModelBoardTest, BehindTroubleCountsOnlyAPieceThatComesFurther) {
  attempt();
  change([](auto& status) { status.piece_applied(100); });
  fail();
  for (const std::uint64_t again : {60UL, 100UL}) {
    change([&](auto& status) { status.piece_applied(again); });
    EXPECT_FALSE(board.read().ready()) << again;
    EXPECT_EQ(board.read().error, "postgres_unavailable");
  }
  change([](auto& status) { status.piece_applied(140); });
  EXPECT_TRUE(board.read().ready());
  EXPECT_EQ(board.read().error, "");
}

}  // namespace
}  // namespace postrider
