// The campaign's checkers are fed with histories that are broken in one way each, and must name it.
#include <gtest/gtest.h>

#include "tests/faults/campaign/plan.h"
#include "tests/faults/campaign/report.h"
#include "tests/faults/campaign/stream_checker.h"
#include "tests/faults/campaign/tally_checker.h"
#include "tests/faults/campaign/witness.h"

namespace postrider::campaign {
namespace {

// Three transactions of one writer: 0 of three events, 1 of two, 2 of one that was taken back.
class StreamCheckerTest : public ::testing::Test {
 protected:
  StreamCheckerTest() {
    histories_ = {{{Outcome::kCommitted, 3}, {Outcome::kCommitted, 2}, {Outcome::kAborted, 1}}};
    commit(100, 0, 3);
    commit(101, 1, 2);
  }
  void commit(std::uint64_t xid, long transaction, long events) {
    Committed committed{xid, xid * 16 + 8, {}};
    for (long i = 0; i < events; ++i) {
      committed.events.push_back(hash_of(transaction, i));
      stream_.push_back(message(transaction, i, events, xid, stream_.size() + 1));
    }
    committed_.push_back(committed);
  }
  static std::uint64_t hash_of(long transaction, long index) {
    return static_cast<std::uint64_t>(1000 + transaction * 100 + index);
  }
  static Seen message(long transaction, long index, long events, std::uint64_t xid,
                      std::size_t ordinal) {
    Seen seen;
    seen.seq = ordinal;
    seen.stored_us = ordinal * 10;
    seen.hash = hash_of(transaction, index);
    seen.made = Payload{0, transaction, index, events, cents_of(transaction, index, events), false};
    seen.header = header(ordinal, xid, index, index + 1 == events);
    return seen;
  }
  static std::string header(std::size_t ordinal, std::uint64_t xid, long index, bool last) {
    char position[64];
    std::snprintf(position, sizeof position, "00000001/%016lX/%08lX", xid * 16,
                  static_cast<unsigned long>(index));
    return "v1 " + std::to_string(ordinal) + " " + position + " " + std::to_string(xid) +
           " 1700000000000000 1" + (last ? " last" : "");
  }
  StreamVerdict judge() {
    StreamChecker checker(histories_);
    for (const auto& transaction : committed_) checker.expect(transaction);
    for (const auto& seen : stream_) checker.see(seen);
    return checker.finish();
  }
  // Ordinals as a relay would number what is there.
  void renumber() {
    std::size_t ordinal = 0;
    for (auto& seen : stream_) {
      const auto old = *parse_header(seen.header);
      seen.seq = ++ordinal;
      seen.header = header(ordinal, old.xid, seen.made->index, old.last);
    }
  }

  std::vector<History> histories_;
  std::vector<Committed> committed_;
  std::vector<Seen> stream_;
};

TEST_F(StreamCheckerTest, FindsNothingInAWholeStream) {
  const auto found = judge();
  EXPECT_EQ(found.bad(), 0U) << found.problems.front();
  EXPECT_EQ(found.events, 5U);
  EXPECT_EQ(found.transactions, 2U);
}

// A confirmation is held to the time at which the whole transaction was in the broker.
TEST_F(StreamCheckerTest, MarksATransactionWhenItsLastEventWasStored) {
  StreamChecker checker(histories_);
  for (const auto& transaction : committed_) checker.expect(transaction);
  for (const auto& seen : stream_) checker.see(seen);
  ASSERT_EQ(checker.marks().size(), 2U);
  EXPECT_EQ(checker.marks()[0].stored_us, 30U);
  EXPECT_EQ(checker.marks()[1].stored_us, 50U);
  EXPECT_EQ(checker.marks()[1].commit_lsn, 101U * 16);
  EXPECT_EQ(checker.marks()[1].ordinal, 5U);
}

TEST_F(StreamCheckerTest, NamesALostEventOnBothOracles) {
  stream_.erase(stream_.begin() + 1);
  renumber();
  EXPECT_EQ(judge().lost, 2U);  // by the WAL, and by the writer
}

TEST_F(StreamCheckerTest, NamesALostTransactionThatTheWitnessLacksToo) {
  stream_.resize(3);
  committed_.pop_back();
  EXPECT_EQ(judge().lost, 1U);
}

TEST_F(StreamCheckerTest, NamesALostTail) {
  stream_.resize(4);
  EXPECT_EQ(judge().lost, 2U);
  EXPECT_EQ(judge().torn, 1U);
}

TEST_F(StreamCheckerTest, NamesADuplicate) {
  stream_.push_back(stream_.back());
  renumber();
  EXPECT_EQ(judge().duplicated, 2U);
}

TEST_F(StreamCheckerTest, NamesSwappedEvents) {
  std::swap(stream_[0], stream_[1]);
  renumber();
  EXPECT_GT(judge().reordered, 0U);
  EXPECT_EQ(judge().lost, 0U);
}

TEST_F(StreamCheckerTest, NamesSwappedTransactions) {
  std::rotate(stream_.begin(), stream_.begin() + 3, stream_.end());
  renumber();
  const auto found = judge();
  EXPECT_GT(found.reordered, 0U);
  EXPECT_GT(found.malformed, 0U) << "positions fell";
}

TEST_F(StreamCheckerTest, NamesATransactionWithinAnother) {
  std::swap(stream_[2], stream_[3]);
  renumber();
  EXPECT_GT(judge().torn, 0U);
}

TEST_F(StreamCheckerTest, NamesAPhantomOfARollback) {
  commit(102, 2, 1);
  EXPECT_EQ(judge().phantom, 1U);
}

TEST_F(StreamCheckerTest, NamesAPhantomOfASavepoint) {
  stream_[1].made->aborted = true;
  EXPECT_EQ(judge().phantom, 1U);
}

TEST_F(StreamCheckerTest, NamesAnEventThatNobodyCommitted) {
  auto forged = stream_.back();
  forged.hash = 7;
  forged.made.reset();
  stream_.push_back(forged);
  EXPECT_EQ(judge().phantom, 1U);
}

TEST_F(StreamCheckerTest, NamesATransactionInDoubtThatIsThereInPart) {
  histories_[0][1].outcome = Outcome::kUnknown;
  EXPECT_EQ(judge().bad(), 0U);
  stream_.pop_back();
  EXPECT_EQ(judge().torn, 2U);  // open at the end, and in doubt
}

TEST_F(StreamCheckerTest, AcceptsATransactionInDoubtThatIsNotThere) {
  histories_[0].push_back({Outcome::kUnknown, 4});
  EXPECT_EQ(judge().bad(), 0U);
}

TEST_F(StreamCheckerTest, NamesHeadersThatBreakTheChain) {
  const auto whole = stream_;
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"v1 4 ", "v1 5 "}, {" 101 ", " 99 "}, {"v1 ", "v2 "}, {" 1700", " x1700"}}) {
    stream_ = whole;
    auto& text = stream_[3].header;
    ASSERT_NE(text.find(from), std::string::npos);
    text.replace(text.find(from), from.size(), to);
    EXPECT_GT(judge().malformed, 0U) << text;
  }
  stream_ = whole;
  stream_[2].header.resize(stream_[2].header.size() - 5);  // " last"
  EXPECT_GT(judge().malformed, 0U);
  stream_ = whole;
  stream_[1].header.replace(stream_[1].header.rfind('1'), 1, "2");  // the next epoch falls
  EXPECT_GT(judge().malformed, 0U);
}

TEST_F(StreamCheckerTest, NamesOtherContentThanTheWriters) {
  ++stream_[0].made->cents;
  EXPECT_EQ(judge().malformed, 1U);
}

TEST(PayloadTest, IsReadAsPostgreSqlPrintsIt) {
  Payload payload;
  ASSERT_TRUE(parse_payload(R"({"c": -5, "i": 2, "n": 3, "t": 17, "w": 4})", payload));
  EXPECT_EQ(payload, (Payload{4, 17, 2, 3, -5, false}));
  ASSERT_TRUE(parse_payload(R"({"c": 1, "i": 0, "n": 3, "t": 17, "w": 4, "x": 1})", payload));
  EXPECT_TRUE(payload.aborted);
  EXPECT_FALSE(parse_payload(R"({"n": 3})", payload));
}

TEST(PayloadTest, CentsOfATransactionAddUpToNothing) {
  for (const long events : {1L, 2L, 50L}) {
    long sum = 0;
    for (long i = 0; i < events; ++i) sum += cents_of(9, i, events);
    EXPECT_EQ(sum, 0);
  }
}

// The witness and the message must come to the same hash from different texts.
TEST(WitnessTest, ReadsTheSameFromTheWalAsFromTheMessage) {
  const std::string id = "0b7f4b3c-33c1-4c4e-9d2e-6a2f7e0c1a55";
  const std::string payload = R"({"c": 0, "i": 0, "n": 1, "t": 5, "w": 3})";
  test::StreamMessage message;
  message.subject = "shop.w3.made";
  message.headers = {{"Postrider-Id", id}, {"Postrider-Key", "k1"}};
  message.data = payload;
  message.stored_us = 17;
  EXPECT_EQ(seen_of(message).stored_us, 17U);
  const auto hash = seen_of(message).hash;
  EXPECT_EQ(hash_of_line("table outbox.events_p20261125: INSERT: id[uuid]:'" + id +
                             "' xid[xid8]:'900' created_at[timestamp with time zone]:'2026' "
                             "subject[text]:'w3.made' key[text]:'k1' type[text]:'made' "
                             "content_type[text]:'application/json' headers[jsonb]:null "
                             "payload[jsonb]:'" +
                             payload + "' payload_bytes[bytea]:null",
                         900),
            hash);
  message.data = R"({"c": 0, "i": 0, "n": 1, "t": 6, "w": 3})";
  EXPECT_NE(seen_of(message).hash, hash);
  EXPECT_EQ(hash_of_line("table outbox.checkpoint: UPDATE: source[text]:'shop'", 900), 0U);
}

TEST(WitnessTest, ReadsRowsOfCapturedTables) {
  test::StreamMessage message;
  message.subject = "shop.cdc.public.account";
  message.headers = {{"Postrider-Position", "v1 7 00000001/0000000000000010/00000000 900 1 1"}};
  message.data =
      R"({"op":"update","schema":"public","table":"account","new":{"id":5,"cents":-77},"unchanged":["note"]})";
  EXPECT_EQ(seen_of(message).hash,
            hash_of_line("table public.account: UPDATE: id[integer]:5 cents[bigint]:-77 "
                         "note[text]:unchanged-toast-datum",
                         900));
  EXPECT_NE(seen_of(message).hash,
            hash_of_line("table public.account: UPDATE: id[integer]:5 cents[bigint]:-77", 901));
}

TEST(TallyCheckerTest, NamesWhatWasAppliedTwiceNotAtAllOrInAnotherOrder) {
  const auto message = [](const char* id, int ordinal) {
    test::StreamMessage made;
    made.subject = "shop.w1.made";
    made.headers = {{"Postrider-Id", id},
                    {"Postrider-Key", "k1"},
                    {"Postrider-Position", "v1 " + std::to_string(ordinal) +
                                               " 00000001/0000000000000010/00000000 1 1 1"}};
    made.data = R"({"c": 3, "i": 0, "n": 2, "t": 5, "w": 1})";
    return made;
  };
  const auto tally = [&](const std::vector<const char*>& ids) {
    TallyChecker checker;
    int ordinal = 0;
    for (const auto* id : ids) checker.see(message(id, ++ordinal));
    return checker.expected();
  };
  const auto right = tally({"0000001-a", "0000002-b"});
  EXPECT_TRUE(differences(right, right).empty());
  EXPECT_FALSE(differences(right, tally({"0000001-a", "0000002-b", "0000002-b"})).empty());
  EXPECT_FALSE(differences(right, tally({"0000001-a"})).empty());
  EXPECT_FALSE(differences(right, tally({"0000002-b", "0000001-a"})).empty());
  EXPECT_FALSE(differences(right, {}).empty());
  EXPECT_FALSE(differences({}, right).empty());
}

TEST(PlanTest, IsTheSameFromASeedAndReadBackFromItsFile) {
  const auto plan = make_plan(5, 60, 100'000);
  EXPECT_EQ(to_jsonl(plan), to_jsonl(make_plan(5, 60, 100'000)));
  EXPECT_NE(to_jsonl(plan), to_jsonl(make_plan(6, 60, 100'000)));
  Plan again;
  again.steps = steps_from_jsonl(to_jsonl(plan));
  EXPECT_EQ(to_jsonl(again), to_jsonl(plan));
  std::size_t quiet = 0;
  for (const auto& step : plan.steps) quiet += step.kind == Kind::kNone ? 1 : 0;
  EXPECT_EQ(quiet * 4, plan.steps.size()) << "a quarter of the periods is without a fault";
}

TEST(PlanTest, HasEveryKindSoonerOrLater) {
  const auto plan = make_plan(1, 2000, 1'000'000);
  for (const auto kind : all_kinds())
    EXPECT_TRUE(std::any_of(plan.steps.begin(), plan.steps.end(), [kind](const Step& step) {
      return step.kind == kind;
    })) << name_of(kind);
}

TEST(ReportTest, OfAnythingWrongIsNotGood) {
  EXPECT_TRUE(Report().good());
  Report report;
  report.problems.emplace_back("a relay ended with 70");
  EXPECT_FALSE(report.good());
  for (auto counter : {&StreamVerdict::lost, &StreamVerdict::duplicated, &StreamVerdict::reordered,
                       &StreamVerdict::torn, &StreamVerdict::phantom, &StreamVerdict::malformed}) {
    Report sum;
    Report round;
    round.stream.*counter = 1;
    sum.add(round);
    EXPECT_FALSE(sum.good());
  }
  EXPECT_EQ(quantile({4, 1, 3, 2}, 0.5), 2);
  EXPECT_EQ(quantile({4, 1, 3, 2}, 0.99), 4);
  EXPECT_EQ(quantile({}, 0.99), 0);
}

}  // namespace
}  // namespace postrider::campaign
