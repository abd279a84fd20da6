#include "daemon/repair/stream_history.h"

#include <gtest/gtest.h>

#include <functional>

namespace postrider {
namespace {

// A stream of ten messages, the fifth of which is durable, of a source that knows epoch 1 and has
// WAL up to 0x10000. Ordinal n has sequence n and, unless said otherwise, a transaction of its own
// at LSN n * 0x100, committed n ms after the epoch.
class StreamHistoryTest : public testing::Test {
 protected:
  StreamHistoryTest() {
    source.durable = {5, 5, {1, Lsn{0x500}, 0, std::nullopt}, {5, 5'000}, 1};
    source.flushed = Lsn{0x10000};
    source.epochs = {1};
    stream = {.exists = true, .same_incarnation = true, .first_seq = 1, .last_seq = 10};
  }

  static ReceivedEvent message(std::uint64_t ordinal) {
    ReceivedEvent event;
    event.seq = ordinal;
    event.place.ordinal = ordinal;
    event.place.position = {1, Lsn{ordinal * 0x100}, 0, std::nullopt};
    event.place.fingerprint = {static_cast<std::uint32_t>(ordinal),
                               static_cast<std::int64_t>(ordinal) * 1'000};
    event.place.epoch = 1;
    event.place.last = true;
    event.subject = "shop.item";
    event.id = "id-" + std::to_string(ordinal);
    return event;
  }
  static std::vector<ReceivedEvent> messages(std::uint64_t from, std::uint64_t to) {
    std::vector<ReceivedEvent> all;
    for (auto ordinal = from; ordinal <= to; ++ordinal) all.push_back(message(ordinal));
    return all;
  }
  [[nodiscard]] StreamHistory read(const std::vector<ReceivedEvent>& all) const {
    StreamHistory history(source, stream);
    for (const auto& event : all) history.take(event);
    history.end();
    return history;
  }

  SourceFacts source;
  StreamContent stream;
};

TEST_F(StreamHistoryTest, OfAWholeStreamIsAllOfIt) {
  const auto history = read(messages(1, 10));
  EXPECT_TRUE(history.voided().empty());
  EXPECT_EQ(history.gap(), "");
  EXPECT_EQ(history.content().kept_ordinal, 10U);
  EXPECT_EQ(history.content().kept_seq, 10U);
  EXPECT_EQ(history.content().behind, 0U);
  EXPECT_EQ(history.content().gone_behind, 0U);
  EXPECT_EQ(history.newest_sure(std::nullopt), 10U);
  EXPECT_EQ(history.oldest_us(), 1'000);
  EXPECT_EQ(history.newest_published_us(), 10'000);
  EXPECT_EQ(history.gone_until_us(), std::nullopt);
}

TEST_F(StreamHistoryTest, WhereThereIsNoStreamIsNone) {
  StreamHistory history(source);
  history.end();
  EXPECT_FALSE(history.content().exists);
  EXPECT_EQ(history.newest_sure(std::nullopt), std::nullopt);
  EXPECT_EQ(history.newest_published_us(), 0);
}

TEST_F(StreamHistoryTest, EndsAtAMessageOfAnotherTimelineAndEverythingBehindItIsVoid) {
  auto all = messages(1, 10);
  all[7].place.position.timeline = 2;
  const auto history = read(all);
  EXPECT_EQ(history.content().kept_ordinal, 7U);
  EXPECT_EQ(history.content().behind, 3U);
  EXPECT_EQ(history.newest_sure(std::nullopt), 7U);
  ASSERT_EQ(history.voided().size(), 3U);
  EXPECT_EQ(history.voided()[0],
            (VoidMessage{8, 8, all[7].place.position.to_string(), "shop.item", "id-8"}));
}

TEST_F(StreamHistoryTest, EndsAtACommitBeyondTheSourcesWal) {
  source.flushed = Lsn{0x8ff};
  EXPECT_EQ(read(messages(1, 10)).content().kept_ordinal, 8U);
}

TEST_F(StreamHistoryTest, EndsAtAForeignMessage) {
  auto all = messages(1, 10);
  all[8].place = {};
  const auto history = read(all);
  EXPECT_EQ(history.content().kept_ordinal, 8U);
  ASSERT_EQ(history.voided().size(), 2U);
  EXPECT_EQ(history.voided()[0], (VoidMessage{9, 0, "", "shop.item", "id-9"}));
  EXPECT_EQ(history.content().highest_ordinal, 10U);
}

TEST_F(StreamHistoryTest, EndsAtAnEpochThatTheRowDoesNotKnowButNotBeforeTheDurableMessage) {
  auto all = messages(1, 10);
  for (auto i = 0U; i < 4; ++i) all[i].place.epoch = 0;  // forgotten since
  for (auto i = 8U; i < 10; ++i) all[i].place.epoch = 2;
  const auto history = read(all);
  EXPECT_EQ(history.content().kept_ordinal, 8U);
  EXPECT_EQ(history.highest_epoch(), 2U);
}

TEST_F(StreamHistoryTest, EndsWhereNoRelayCanHaveGoneOn) {
  for (const auto& break_at_eight : std::vector<std::function<void(PositionHeader&)>>{
           [](auto& place) { place.ordinal = 7; },
           [](auto& place) { place.position.commit_lsn = Lsn{0x700}; },
           [](auto& place) { place.epoch = 0; }}) {
    auto all = messages(1, 10);
    source.epochs = {0, 1};
    break_at_eight(all[7].place);
    EXPECT_EQ(read(all).content().kept_ordinal, 7U);
  }
}

TEST_F(StreamHistoryTest, OfATransactionWithoutItsEndKeepsNothing) {
  auto all = messages(1, 10);
  for (auto i = 8U; i < 10; ++i) {
    all[i].place.last = false;
    all[i].place.position = {1, Lsn{0x900}, i, std::nullopt};
  }
  const auto history = read(all);
  EXPECT_EQ(history.torn(), 2U);
  EXPECT_EQ(history.content().kept_ordinal, 8U);
  EXPECT_EQ(history.content().behind, 2U);
  EXPECT_TRUE(history.voided().empty());
  EXPECT_EQ(history.newest_sure(std::nullopt), 8U);
  EXPECT_EQ(history.newest_published_us(), 8'000);
}

TEST_F(StreamHistoryTest, LacksWhatTheBrokerLostBehindTheDurableMessage) {
  auto all = messages(1, 10);
  all.erase(all.begin() + 6, all.begin() + 8);
  const auto history = read(all);
  EXPECT_EQ(history.gap(), "ordinals 7 to 8");
  EXPECT_EQ(history.content().kept_ordinal, 6U);
  EXPECT_EQ(history.voided().size(), 2U);
}

TEST_F(StreamHistoryTest, GoesOnBehindWhatSomebodyRemovedBeforeTheDurableMessage) {
  auto all = messages(1, 10);
  all.erase(all.begin() + 1, all.begin() + 4);
  const auto history = read(all);
  EXPECT_EQ(history.gap(), "");
  EXPECT_EQ(history.content().kept_ordinal, 10U);
  EXPECT_EQ(history.gone_until_us(), 5'000);
}

TEST_F(StreamHistoryTest, GoesOnBehindADeclaredHole) {
  auto all = messages(1, 10);
  all.erase(all.begin() + 6, all.begin() + 8);
  all[6].hole = OrdinalRange{7, 8};
  EXPECT_EQ(read(all).content().kept_ordinal, 10U);
}

TEST_F(StreamHistoryTest, DoesNotTakeBackWhatARepairGaveUp) {
  source.durable = {5, 10, {}, {}, 1};
  source.given_up = OrdinalRange{8, 10};
  EXPECT_EQ(read(messages(1, 10)).content().kept_ordinal, 7U);
}

TEST_F(StreamHistoryTest, OfAStreamWhoseFrontAgedOutBeginsThere) {
  stream.first_seq = 4;
  const auto history = read(messages(4, 10));
  EXPECT_EQ(history.content().first_ordinal, 4U);
  EXPECT_EQ(history.content().kept_ordinal, 10U);
  EXPECT_EQ(history.gone_until_us(), 4'000);
  EXPECT_EQ(history.oldest_us(), 4'000);
}

TEST_F(StreamHistoryTest, WhoseFrontTheBrokerLostIsVoid) {
  stream.first_seq = 8;
  source.lost_front = true;
  const auto lost = read(messages(8, 10));
  EXPECT_EQ(lost.gap(), "what stood before ordinal 8");
  EXPECT_EQ(lost.voided().size(), 3U);
  EXPECT_EQ(lost.newest_sure(std::nullopt), 0U);
  source.lost_front = false;  // of what ages nothing tells
  EXPECT_EQ(read(messages(8, 10)).content().kept_ordinal, 10U);
}

TEST_F(StreamHistoryTest, IsGivenUpByTheOperatorsWordWithoutChangingWhatIsSure) {
  source.void_after = 6;
  const auto history = read(messages(1, 10));
  EXPECT_EQ(history.content().kept_ordinal, 6U);
  EXPECT_EQ(history.voided().size(), 4U);
  EXPECT_EQ(history.newest_sure(std::nullopt), 10U);
}

TEST_F(StreamHistoryTest, IsSureUpToTheTransactionBeforeTheFirstUnprovenOrdinal) {
  auto all = messages(1, 10);
  all[6].place.last = false;  // 7 and 8 are one
  all[7].place.position = {1, Lsn{0x700}, 1, std::nullopt};
  const auto history = read(all);
  EXPECT_EQ(history.newest_sure(10), 9U);
  EXPECT_EQ(history.newest_sure(8), 6U);
  EXPECT_EQ(history.newest_sure(6), 5U);  // what is durable is
}

TEST_F(StreamHistoryTest, CannotProveARowChangeBehindTheDurableMessage) {
  auto all = messages(1, 10);
  all[2].id = "";
  EXPECT_EQ(read(all).first_row_change(), std::nullopt);
  all[8].id = all[9].id = "";
  EXPECT_EQ(read(all).first_row_change(), 9U);
}

TEST_F(StreamHistoryTest, CountsTheNewestSequencesThatCannotBeRead) {
  EXPECT_EQ(read(messages(1, 8)).content().gone_behind, 2U);
  EXPECT_EQ(read({}).content().gone_behind, 5U);  // the durable one was published
  stream.same_incarnation = false;
  EXPECT_EQ(read({}).content().gone_behind, 10U);
}

TEST_F(StreamHistoryTest, IgnoresWhatIsPublishedMeanwhile) {
  const auto history = read(messages(1, 12));
  EXPECT_EQ(history.content().highest_ordinal, 10U);
  EXPECT_EQ(history.content().kept_ordinal, 10U);
}

}  // namespace
}  // namespace postrider
