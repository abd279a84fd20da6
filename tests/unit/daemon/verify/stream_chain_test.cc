#include "daemon/verify/stream_chain.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

// Ordinal, LSN, index, and whether last of its transaction.
PositionHeader header(std::uint64_t ordinal, std::uint64_t lsn, std::uint32_t index, bool last) {
  PositionHeader h;
  h.ordinal = ordinal;
  h.position = {1, Lsn{lsn}, index, std::nullopt};
  h.fingerprint = {static_cast<std::uint32_t>(lsn), 5};
  h.epoch = 1;
  h.last = last;
  return h;
}

class StreamChainTest : public ::testing::Test {
 protected:
  std::uint64_t faults(std::initializer_list<PositionHeader> headers) {
    std::uint64_t seq = 0;
    for (const auto& h : headers) chain_.accept(++seq, h);
    return findings_.total();
  }
  StreamFindings findings_{10};
  StreamChain chain_{findings_};
};

TEST_F(StreamChainTest, OfWholeTransactionsHasNoFault) {
  EXPECT_EQ(faults({header(7, 10, 0, false), header(8, 10, 1, true), header(9, 20, 0, true)}), 0U);
  EXPECT_EQ(chain_.last()->ordinal, 9U);
}

TEST_F(StreamChainTest, FindsAGapAndGoesOnBehindIt) {
  EXPECT_EQ(faults({header(1, 10, 0, true), header(4, 20, 0, true), header(5, 30, 0, true)}), 1U);
  ASSERT_EQ(findings_.count(StreamFault::kGap), 1U);
  EXPECT_NE(findings_.listed()[0].what.find("ordinals 2 to 3"), std::string::npos);
}

TEST_F(StreamChainTest, FindsARepetitionAndGoesOnWithoutIt) {
  EXPECT_EQ(faults({header(1, 10, 0, true), header(2, 20, 0, true), header(1, 10, 0, true),
                    header(3, 30, 0, true)}),
            1U);
  EXPECT_EQ(findings_.count(StreamFault::kChain), 1U);
}

TEST_F(StreamChainTest, FindsAPositionThatDoesNotRise) {
  EXPECT_EQ(faults({header(1, 20, 0, true), header(2, 10, 0, true)}), 1U);
  EXPECT_EQ(findings_.count(StreamFault::kChain), 1U);
}

TEST_F(StreamChainTest, FindsATransactionWithoutItsEnd) {
  EXPECT_EQ(faults({header(1, 10, 0, false), header(2, 20, 0, true)}), 1U);
  EXPECT_EQ(findings_.count(StreamFault::kTorn), 1U);
}

TEST_F(StreamChainTest, FindsATransactionThatGoesOnBehindItsEnd) {
  EXPECT_EQ(faults({header(1, 10, 0, true), header(2, 10, 1, true)}), 1U);
  EXPECT_EQ(findings_.count(StreamFault::kTorn), 1U);
}

TEST_F(StreamChainTest, ForgetsWhatIsGoneByAge) {
  chain_.accept(1, header(1, 10, 0, false));
  chain_.forget();
  chain_.accept(9, header(9, 90, 0, true));
  EXPECT_EQ(findings_.total(), 0U);
}

TEST_F(StreamChainTest, ADeclaredHoleIsNoGap) {
  chain_.accept(1, header(1, 10, 0, true));
  EXPECT_FALSE(chain_.would_gap(header(5, 50, 0, true), OrdinalRange{2, 4}));
  chain_.accept(2, header(5, 50, 0, true), OrdinalRange{2, 4});
  EXPECT_EQ(findings_.total(), 0U);
  EXPECT_TRUE(chain_.would_gap(header(9, 90, 0, true), OrdinalRange{7, 8}));
  chain_.accept(3, header(9, 90, 0, true), OrdinalRange{7, 8});
  EXPECT_EQ(findings_.count(StreamFault::kGap), 1U);
}

}  // namespace
}  // namespace postrider
