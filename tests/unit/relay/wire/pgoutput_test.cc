#include "relay/wire/pgoutput.h"

#include <gtest/gtest.h>

#include "tests/unit/relay/wire/pgoutput_bytes.h"

namespace postrider::wire {
namespace {

using namespace postrider::test;

// Microseconds from 1970 to 2000, PostgreSQL's own beginning of time.
constexpr std::int64_t kEpochDifference = 946'684'800'000'000;

template <class T>
T decoded(const MessageBytes& bytes) {
  const auto message = decode_pgoutput(bytes.bytes());
  EXPECT_TRUE(message.has_value());
  return std::get<T>(*message);
}

TEST(PgOutput, ReadsBeginAndCommit) {
  const auto begin = decoded<Begin>(begin_bytes(0x1234, 77, 5));
  EXPECT_EQ(begin.commit_lsn, Lsn{0x1234});
  EXPECT_EQ(begin.xid, 77U);
  EXPECT_EQ(begin.commit_time_us, kEpochDifference + 5);
  const auto commit = decoded<Commit>(commit_bytes(0x1234, 0x1240));
  EXPECT_EQ(commit.commit_lsn, Lsn{0x1234});
  EXPECT_EQ(commit.end_lsn, Lsn{0x1240});
}

TEST(PgOutput, ReadsARelationAndItsRows) {
  const auto relation_text = relation_bytes(9, "outbox", "events", {"id", "subject"});
  const auto relation = decoded<Relation>(relation_text);
  EXPECT_EQ(relation.oid, 9U);
  EXPECT_EQ(relation.schema, "outbox");
  ASSERT_EQ(relation.columns.size(), 2U);
  EXPECT_EQ(relation.columns[1].name, "subject");
  const auto insert_text = insert_bytes(9, {"x", "\x01"});
  const auto insert = decoded<Insert>(insert_text);
  ASSERT_EQ(insert.row.size(), 2U);
  EXPECT_EQ(insert.row[0].kind, Value::Kind::kText);
  EXPECT_EQ(insert.row[0].data, "x");
  EXPECT_EQ(insert.row[1].kind, Value::Kind::kNull);
}

TEST(PgOutput, AnUnchangedToastValueIsNotNull) {
  const auto text = MessageBytes('I').i32(9).i8('N').i16(1).i8('u');
  EXPECT_EQ(decoded<Insert>(text).row[0].kind, Value::Kind::kUnchangedToast);
}

TEST(PgOutput, ReadsALogicalMessage) {
  const auto text = message_bytes(true, "postrider", std::string("a\0b", 3));
  const auto message = decoded<LogicalMessage>(text);
  EXPECT_TRUE(message.transactional);
  EXPECT_EQ(message.prefix, "postrider");
  EXPECT_EQ(message.content.size(), 3U);
}

TEST(PgOutput, ReadsRowChanges) {
  const auto relation_text = table_bytes(9, "public", "t", 'i', 1, {{"id", 23}, {"v", 25}}).text();
  const auto relation =
      std::get<Relation>(decode_pgoutput(MessageBytes::of(relation_text)).value());
  EXPECT_EQ(relation.identity, ReplicaIdentity::kIndex);
  EXPECT_TRUE(relation.columns[0].key);
  EXPECT_FALSE(relation.columns[1].key);

  const auto update_text = update_bytes(9, 'K', {"1", "\x01"}, {"2", "\x02"}).text();
  const auto update = std::get<Update>(decode_pgoutput(MessageBytes::of(update_text)).value());
  EXPECT_EQ(update.old_kind, OldRow::kKey);
  EXPECT_EQ(update.old[0].data, "1");
  EXPECT_EQ(update.row[0].data, "2");
  EXPECT_EQ(update.row[1].kind, Value::Kind::kUnchangedToast);
  const auto plain_text = update_bytes(9, 0, {}, {"2", "x"}).text();
  EXPECT_EQ(std::get<Update>(decode_pgoutput(MessageBytes::of(plain_text)).value()).old_kind,
            OldRow::kNone);

  const auto delete_text = delete_bytes(9, 'O', {"1", "x"}).text();
  const auto deletion = std::get<Delete>(decode_pgoutput(MessageBytes::of(delete_text)).value());
  EXPECT_EQ(deletion.old_kind, OldRow::kFull);
  EXPECT_EQ(deletion.old[1].data, "x");

  const auto truncate_text = truncate_bytes({9, 10}, 2).text();
  const auto truncate =
      std::get<Truncate>(decode_pgoutput(MessageBytes::of(truncate_text)).value());
  EXPECT_EQ(truncate.oids, (std::vector<std::uint32_t>{9, 10}));
  EXPECT_FALSE(truncate.cascade);
  EXPECT_TRUE(truncate.restart_identity);
  EXPECT_FALSE(decode_pgoutput(MessageBytes('D').i32(9).i8('N').raw(tuple_bytes({})).bytes()));
}

// Whatever arrives, it is an error or a message, never a crash; cut off it is always an error.
TEST(PgOutput, RefusesEveryTruncation) {
  const std::vector<std::string> messages = {
      begin_bytes(1, 2).text(),
      commit_bytes(1, 2).text(),
      relation_bytes(9, "outbox", "events", {"id", "subject"}).text(),
      insert_bytes(9, {"abc", "\x01", "defg"}).text(),
      message_bytes(true, "p", "content").text(),
      update_bytes(9, 'K', {"a"}, {"b"}).text(),
      update_bytes(9, 0, {}, {"b", "\x02"}).text(),
      delete_bytes(9, 'O', {"a", "\x01"}).text(),
      truncate_bytes({9, 10}, 3).text()};
  for (const auto& message : messages) {
    ASSERT_TRUE(decode_pgoutput(MessageBytes::of(message)).has_value());
    for (std::size_t size = 0; size < message.size(); ++size) {
      const auto cut = message.substr(0, size);
      const auto result = decode_pgoutput(MessageBytes::of(cut));
      ASSERT_FALSE(result.has_value()) << message[0] << " cut at " << size;
      EXPECT_EQ(result.error().kind, ErrorKind::kProtocol);
    }
  }
}

TEST(PgOutput, RefusesSurplusBytesAndUnknownKinds) {
  const auto surplus = begin_bytes(1, 2).raw("x");
  EXPECT_FALSE(decode_pgoutput(surplus.bytes()).has_value());
  EXPECT_FALSE(decode_pgoutput(MessageBytes('?').i64(0).bytes()).has_value());
  EXPECT_FALSE(decode_pgoutput(MessageBytes('S').i32(1).i8(1).bytes()).has_value())
      << "streamed transactions are switched off";
}

TEST(PgOutput, RefusesLengthsThatLie) {
  EXPECT_FALSE(
      decode_pgoutput(MessageBytes('I').i32(9).i8('N').i16(1).i8('t').i32(-5).bytes()).has_value());
  EXPECT_FALSE(decode_pgoutput(
                   MessageBytes('I').i32(9).i8('N').i16(1).i8('t').i32(0x7FFFFFFF).raw("a").bytes())
                   .has_value());
  EXPECT_FALSE(decode_pgoutput(MessageBytes('I').i32(9).i8('N').i16(-1).bytes()).has_value());
}

}  // namespace
}  // namespace postrider::wire
