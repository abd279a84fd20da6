// The pgoutput messages of protocol version 1, without streaming and without two_phase. Pure.
//
//   Begin     'B' final_lsn:u64 commit_time:i64 xid:u32
//   Commit    'C' flags:u8 commit_lsn:u64 end_lsn:u64 commit_time:i64
//   Origin    'O' lsn:u64 name:cstring
//   Relation  'R' oid:u32 namespace:cstring name:cstring identity:u8 count:u16 column*
//               column: flags:u8 name:cstring type:u32 modifier:i32
//   Type      'Y' oid:u32 namespace:cstring name:cstring
//   Insert    'I' oid:u32 'N' tuple
//   Update    'U' oid:u32 [('K'|'O') tuple] 'N' tuple
//   Delete    'D' oid:u32 ('K'|'O') tuple
//   Truncate  'T' count:u32 options:u8 oid:u32*
//   Message   'M' flags:u8 lsn:u64 prefix:cstring length:u32 content
//   tuple:    count:u16 value*        value: 'n' | 'u' | ('t'|'b') length:u32 bytes
//
// commit_time counts microseconds since 2000-01-01 UTC. Integers are big-endian.
// Source: PostgreSQL documentation, "Logical Replication Message Formats".
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "postrider/lsn.h"
#include "relay/wire/byte_reader.h"

namespace postrider::wire {

struct Begin {
  Lsn commit_lsn;                   // where the commit record starts
  std::int64_t commit_time_us = 0;  // since 1970-01-01 UTC
  std::uint32_t xid = 0;
};

struct Commit {
  Lsn commit_lsn;  // equals Begin's
  Lsn end_lsn;     // where the commit record ends: what may be confirmed
};

struct Origin {};
struct Type {};

struct Column {
  std::string_view name;
  std::uint32_t type = 0;
  bool key = false;  // part of the replica identity; of every column where that is FULL
};

// What a table's updates and deletes say of the old row.
enum class ReplicaIdentity : std::uint8_t { kDefault, kNothing, kFull, kIndex };

struct Relation {
  std::uint32_t oid = 0;
  std::string_view schema;  // empty means pg_catalog
  std::string_view name;
  ReplicaIdentity identity = ReplicaIdentity::kDefault;
  std::vector<Column> columns;
};

struct Value {
  enum class Kind : std::uint8_t { kNull, kUnchangedToast, kText, kBinary };
  Kind kind = Kind::kNull;
  std::string_view data;  // empty unless kText or kBinary
};

using Tuple = std::vector<Value>;

struct Insert {
  std::uint32_t oid = 0;
  Tuple row;
};

// The old row of an update or delete, as far as the replica identity gives it.
enum class OldRow : std::uint8_t {
  kNone,  // of an update that left the key as it was
  kKey,   // the key columns; the others are null
  kFull,
};

struct Update {
  std::uint32_t oid = 0;
  OldRow old_kind = OldRow::kNone;
  Tuple old;
  Tuple row;
};

struct Delete {
  std::uint32_t oid = 0;
  OldRow old_kind = OldRow::kKey;
  Tuple old;
};

struct Truncate {
  std::vector<std::uint32_t> oids;
  bool cascade = false;
  bool restart_identity = false;
};

struct LogicalMessage {
  bool transactional = false;
  std::string_view prefix;
  Bytes content;
};

using PgOutputMessage = std::variant<Begin, Commit, Origin, Type, Relation, Insert, Update, Delete,
                                     Truncate, LogicalMessage>;

// Decodes one message. Views point into `message`. kProtocol for anything that the grammar above
// does not produce, surplus bytes included. Allocates at most in proportion to the message's own
// size.
[[nodiscard]] Result<PgOutputMessage> decode_pgoutput(Bytes message);

}  // namespace postrider::wire
