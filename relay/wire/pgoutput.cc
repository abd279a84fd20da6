#include "relay/wire/pgoutput.h"

#include <string>

namespace postrider::wire {
namespace {

constexpr std::int64_t kPostgresEpochUs = 946'684'800'000'000;  // 2000-01-01 in Unix microseconds

// The smallest encodings: what bounds a count that the message claims.
constexpr std::size_t kMinColumnSize = 1 + 1 + 4 + 4;
constexpr std::size_t kMinValueSize = 1;
constexpr std::size_t kOidSize = 4;

std::int64_t to_unix_us(std::int64_t postgres_us, ByteReader& reader) {
  std::int64_t unix_us = 0;
  if (__builtin_add_overflow(postgres_us, kPostgresEpochUs, &unix_us)) reader.fail();
  return unix_us;
}

Begin read_begin(ByteReader& in) {
  Begin begin;
  begin.commit_lsn = Lsn{in.u64()};
  begin.commit_time_us = to_unix_us(in.i64(), in);
  begin.xid = in.u32();
  return begin;
}

Commit read_commit(ByteReader& in) {
  Commit commit;
  (void)in.u8();  // flags, unused by the protocol
  commit.commit_lsn = Lsn{in.u64()};
  commit.end_lsn = Lsn{in.u64()};
  (void)in.i64();  // commit time, as in Begin
  return commit;
}

ReplicaIdentity read_identity(ByteReader& in) {
  switch (static_cast<char>(in.u8())) {
    case 'd':
      return ReplicaIdentity::kDefault;
    case 'n':
      return ReplicaIdentity::kNothing;
    case 'f':
      return ReplicaIdentity::kFull;
    case 'i':
      return ReplicaIdentity::kIndex;
    default:
      in.fail();
      return ReplicaIdentity::kDefault;
  }
}

Relation read_relation(ByteReader& in) {
  Relation relation;
  relation.oid = in.u32();
  relation.schema = in.c_string();
  relation.name = in.c_string();
  relation.identity = read_identity(in);
  const std::size_t count = in.u16();
  if (count * kMinColumnSize > in.remaining()) in.fail();
  if (!in.ok()) return relation;
  relation.columns.resize(count);
  for (auto& column : relation.columns) {
    column.key = (in.u8() & 1U) != 0;
    column.name = in.c_string();
    column.type = in.u32();
    (void)in.i32();  // type modifier
  }
  return relation;
}

Value read_value(ByteReader& in) {
  switch (static_cast<char>(in.u8())) {
    case 'n':
      return {Value::Kind::kNull, {}};
    case 'u':
      return {Value::Kind::kUnchangedToast, {}};
    case 't':
      return {Value::Kind::kText, as_text(in.bytes(in.u32()))};
    case 'b':
      return {Value::Kind::kBinary, as_text(in.bytes(in.u32()))};
    default:
      in.fail();
      return {};
  }
}

Tuple read_tuple(ByteReader& in) {
  const std::size_t count = in.u16();
  if (count * kMinValueSize > in.remaining()) in.fail();
  if (!in.ok()) return {};
  Tuple tuple(count);
  for (auto& value : tuple) value = read_value(in);
  return tuple;
}

void expect(ByteReader& in, char marker) {
  if (static_cast<char>(in.u8()) != marker) in.fail();
}

Insert read_insert(ByteReader& in) {
  Insert insert;
  insert.oid = in.u32();
  expect(in, 'N');
  insert.row = read_tuple(in);
  return insert;
}

OldRow old_row_of(char marker) {
  return marker == 'K' ? OldRow::kKey : OldRow::kFull;
}

Update read_update(ByteReader& in) {
  Update update;
  update.oid = in.u32();
  const char marker = static_cast<char>(in.u8());
  if (marker == 'K' || marker == 'O') {
    update.old_kind = old_row_of(marker);
    update.old = read_tuple(in);
    expect(in, 'N');
  } else if (marker != 'N') {
    in.fail();
  }
  update.row = read_tuple(in);
  return update;
}

Delete read_delete(ByteReader& in) {
  Delete deletion;
  deletion.oid = in.u32();
  const char marker = static_cast<char>(in.u8());
  if (marker != 'K' && marker != 'O') in.fail();
  deletion.old_kind = old_row_of(marker);
  deletion.old = read_tuple(in);
  return deletion;
}

Truncate read_truncate(ByteReader& in) {
  Truncate truncate;
  const std::size_t count = in.u32();
  const unsigned options = in.u8();
  truncate.cascade = (options & 1U) != 0;
  truncate.restart_identity = (options & 2U) != 0;
  if (count > in.remaining() / kOidSize) in.fail();
  if (!in.ok()) return truncate;
  truncate.oids.resize(count);
  for (auto& oid : truncate.oids) oid = in.u32();
  return truncate;
}

LogicalMessage read_message(ByteReader& in) {
  LogicalMessage message;
  message.transactional = (in.u8() & 1U) != 0;
  (void)in.u64();  // LSN of the message
  message.prefix = in.c_string();
  message.content = in.bytes(in.u32());
  return message;
}

Origin read_origin(ByteReader& in) {
  (void)in.u64();
  (void)in.c_string();
  return {};
}

Type read_type(ByteReader& in) {
  (void)in.u32();
  (void)in.c_string();
  (void)in.c_string();
  return {};
}

PgOutputMessage read_body(char kind, ByteReader& in) {
  switch (kind) {
    case 'B':
      return read_begin(in);
    case 'C':
      return read_commit(in);
    case 'O':
      return read_origin(in);
    case 'Y':
      return read_type(in);
    case 'R':
      return read_relation(in);
    case 'I':
      return read_insert(in);
    case 'U':
      return read_update(in);
    case 'D':
      return read_delete(in);
    case 'T':
      return read_truncate(in);
    case 'M':
      return read_message(in);
    default:
      in.fail();
      return Origin{};
  }
}

}  // namespace

Result<PgOutputMessage> decode_pgoutput(Bytes message) {
  ByteReader in(message);
  const char kind = static_cast<char>(in.u8());
  PgOutputMessage decoded = read_body(kind, in);
  if (in.at_end()) return decoded;
  return fail(ErrorKind::kProtocol, "a pgoutput message of kind " +
                                        std::to_string(static_cast<unsigned char>(kind)) + " and " +
                                        std::to_string(message.size()) + " bytes is malformed");
}

}  // namespace postrider::wire
