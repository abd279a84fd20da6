#include "daemon/repair/plan.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

// Ten messages, of which five are durable; the last of the stream is the tenth.
RepairPlan plan(const Checkpoint& row, const StreamContent& stream) {
  return plan_repair(row, stream, std::nullopt, std::nullopt);
}
Checkpoint row() {
  Checkpoint row;
  row.mark = {5, 5, {1, Lsn{0x500}, 0, std::nullopt}, {5, 5}, 1};
  return row;
}
StreamContent whole() {
  return {.exists = true,
          .same_incarnation = true,
          .first_seq = 1,
          .first_ordinal = 1,
          .last_seq = 10,
          .kept_seq = 10,
          .kept_ordinal = 10,
          .highest_ordinal = 10,
          .behind = 0};
}

TEST(RepairPlan, OfAWholeStreamLeavesNoHole) {
  const auto found = plan(row(), whole());
  EXPECT_EQ(found, (RepairPlan{10, 10, 10, 11, std::nullopt}));
}

TEST(RepairPlan, OfAStreamThatIsGoneGivesUpEveryOrdinalThatWasDurable) {
  const auto found = plan(row(), {});
  EXPECT_EQ(found, (RepairPlan{0, 0, 0, 6, OrdinalRange{1, 5}}));
}

TEST(RepairPlan, OfALostTailGivesUpWhatWasDurable) {
  auto stream = whole();
  stream.last_seq = stream.kept_seq = stream.kept_ordinal = stream.highest_ordinal = 3;
  EXPECT_EQ(plan(row(), stream), (RepairPlan{3, 3, 3, 6, OrdinalRange{4, 5}}));
}

TEST(RepairPlan, CountsWhatAgedOutByItsSequence) {
  auto stream = whole();
  stream.kept_seq = stream.kept_ordinal = stream.highest_ordinal = stream.first_ordinal = 0;
  EXPECT_EQ(plan(row(), stream), (RepairPlan{10, 10, 10, 11, std::nullopt}));
  stream.last_seq = 4;
  EXPECT_EQ(plan(row(), stream), (RepairPlan{4, 4, 4, 6, OrdinalRange{5, 5}}));
}

// Somebody deleted the newest two: read models may have applied them.
TEST(RepairPlan, NeverGivesOutAnOrdinalThatADeletedMessageMayHaveHad) {
  auto stream = whole();
  stream.kept_seq = stream.kept_ordinal = stream.highest_ordinal = 8;
  stream.gone_behind = 2;
  EXPECT_EQ(plan(row(), stream), (RepairPlan{8, 10, 10, 11, OrdinalRange{9, 10}}));
}

TEST(RepairPlan, GivesUpWhatIsVoid) {
  auto stream = whole();
  stream.kept_seq = stream.kept_ordinal = 7;
  stream.behind = 3;
  EXPECT_EQ(plan(row(), stream), (RepairPlan{7, 7, 10, 11, OrdinalRange{8, 10}}));
}

TEST(RepairPlan, GivesUpTheBeginningOfATransactionWithoutAWord) {
  auto stream = whole();
  stream.kept_seq = stream.kept_ordinal = 8;
  stream.behind = 2;
  EXPECT_EQ(plan(row(), stream), (RepairPlan{8, 8, 10, 11, OrdinalRange{9, 10}}));
}

TEST(RepairPlan, OfWhatBeginsInTheMiddleKeepsWhatIsGoneByAge) {
  auto stream = whole();
  stream.first_seq = stream.first_ordinal = 4;
  stream.kept_seq = stream.kept_ordinal = 0;
  stream.behind = 7;
  EXPECT_EQ(plan(row(), stream), (RepairPlan{3, 3, 10, 11, OrdinalRange{4, 10}}));
}

// Nothing ages there: what stood before is sent again, too.
TEST(RepairPlan, OfAStreamThatLostItsFrontKeepsNothing) {
  auto stream = whole();
  stream.first_seq = stream.first_ordinal = 8;
  stream.lost_front = true;
  stream.kept_seq = stream.kept_ordinal = 0;
  stream.behind = 3;
  EXPECT_EQ(plan(row(), stream), (RepairPlan{0, 7, 10, 11, OrdinalRange{1, 10}}));
}

TEST(RepairPlan, NeverGivesOutAnOrdinalThatARepairBeforeItSetAside) {
  auto stream = whole();  // the void ones are deleted already
  stream.kept_seq = stream.kept_ordinal = stream.highest_ordinal = 7;
  EXPECT_EQ(plan_repair(row(), stream, BegunRepair{10, 7, 7}, std::nullopt),
            (RepairPlan{7, 10, 10, 11, OrdinalRange{8, 10}}));
}

// Nothing readable is left: what a run before it planned still holds.
TEST(RepairPlan, OfARunThatWasKilledBehindItsDeletionsKeepsItsHole) {
  auto stream = whole();
  stream.kept_seq = stream.kept_ordinal = stream.highest_ordinal = stream.first_ordinal = 0;
  EXPECT_EQ(plan_repair(row(), stream, BegunRepair{10, 4, 4}, std::nullopt),
            (RepairPlan{4, 10, 10, 11, OrdinalRange{5, 10}}));
}

TEST(RepairPlan, KeepsAHoleThatNobodyHasDeclaredYet) {
  auto behind = row();
  behind.mark = {10, 20, {1, Lsn{}, 0, std::nullopt}, {}, 2};
  auto stream = whole();
  stream.kept_seq = stream.kept_ordinal = stream.highest_ordinal = stream.first_ordinal = 0;
  EXPECT_EQ(plan_repair(behind, stream, std::nullopt, OrdinalRange{11, 20}),
            (RepairPlan{10, 10, 10, 21, OrdinalRange{11, 20}}));
}

}  // namespace
}  // namespace postrider
