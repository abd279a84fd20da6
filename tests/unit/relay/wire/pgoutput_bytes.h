// Builds pgoutput messages byte by byte, from PostgreSQL's documentation ("Logical Replication
// Message Formats"), without the decoder's help.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "relay/wire/byte_reader.h"

namespace postrider::test {

class MessageBytes {
 public:
  explicit MessageBytes(char kind) { text_ += kind; }
  MessageBytes& i8(int value) { return integer(static_cast<std::uint64_t>(value), 1); }
  MessageBytes& i16(int value) { return integer(static_cast<std::uint64_t>(value), 2); }
  MessageBytes& i32(std::int64_t value) { return integer(static_cast<std::uint64_t>(value), 4); }
  MessageBytes& i64(std::uint64_t value) { return integer(value, 8); }
  MessageBytes& cstring(const std::string& value) {
    text_ += value;
    text_ += '\0';
    return *this;
  }
  MessageBytes& raw(const std::string& value) {
    text_ += value;
    return *this;
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] wire::Bytes bytes() const { return of(text_); }
  [[nodiscard]] static wire::Bytes of(const std::string& text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
  }

 private:
  MessageBytes& integer(std::uint64_t value, int size) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
      text_ += static_cast<char>((value >> static_cast<unsigned>(shift)) & 0xFFU);
    return *this;
  }
  std::string text_;
};

inline MessageBytes begin_bytes(std::uint64_t lsn, std::uint32_t xid, std::int64_t time = 0) {
  return MessageBytes('B').i64(lsn).i64(static_cast<std::uint64_t>(time)).i32(xid);
}
inline MessageBytes commit_bytes(std::uint64_t lsn, std::uint64_t end) {
  return MessageBytes('C').i8(0).i64(lsn).i64(end).i64(0);
}
// The first `keys` columns are the replica identity.
struct ColumnBytes {
  std::string name;
  std::uint32_t type = 25;
};
inline MessageBytes table_bytes(std::uint32_t oid, const std::string& schema,
                                const std::string& name, char identity, std::size_t keys,
                                const std::vector<ColumnBytes>& columns) {
  auto bytes = MessageBytes('R').i32(oid).cstring(schema).cstring(name).i8(identity).i16(
      static_cast<int>(columns.size()));
  for (std::size_t i = 0; i < columns.size(); ++i)
    bytes.i8(i < keys ? 1 : 0).cstring(columns[i].name).i32(columns[i].type).i32(-1);
  return bytes;
}
inline MessageBytes relation_bytes(std::uint32_t oid, const std::string& schema,
                                   const std::string& name,
                                   const std::vector<std::string>& columns) {
  std::vector<ColumnBytes> texts;
  for (const auto& column : columns) texts.push_back({column});
  return table_bytes(oid, schema, name, 'd', 0, texts);
}
// "\x01" stands for NULL, "\x02" for an unchanged TOAST value.
inline std::string tuple_bytes(const std::vector<std::string>& values) {
  MessageBytes bytes('?');
  bytes.i16(static_cast<int>(values.size()));
  for (const auto& value : values) {
    if (value == "\x01")
      bytes.i8('n');
    else if (value == "\x02")
      bytes.i8('u');
    else
      bytes.i8('t').i32(static_cast<std::int64_t>(value.size())).raw(value);
  }
  return bytes.text().substr(1);
}
inline MessageBytes insert_bytes(std::uint32_t oid, const std::vector<std::string>& values) {
  return MessageBytes('I').i32(oid).i8('N').raw(tuple_bytes(values));
}
// `marker` of the old row: 'K', 'O', or 0 for an update without one.
inline MessageBytes update_bytes(std::uint32_t oid, char marker,
                                 const std::vector<std::string>& old,
                                 const std::vector<std::string>& row) {
  auto bytes = MessageBytes('U').i32(oid);
  if (marker != 0) bytes.i8(marker).raw(tuple_bytes(old));
  return bytes.i8('N').raw(tuple_bytes(row));
}
inline MessageBytes delete_bytes(std::uint32_t oid, char marker,
                                 const std::vector<std::string>& old) {
  return MessageBytes('D').i32(oid).i8(marker).raw(tuple_bytes(old));
}
inline MessageBytes truncate_bytes(const std::vector<std::uint32_t>& oids, int options = 0) {
  auto bytes = MessageBytes('T').i32(static_cast<std::int64_t>(oids.size())).i8(options);
  for (const auto oid : oids) bytes.i32(oid);
  return bytes;
}
inline MessageBytes message_bytes(bool transactional, const std::string& prefix,
                                  const std::string& content) {
  return MessageBytes('M')
      .i8(transactional ? 1 : 0)
      .i64(0)
      .cstring(prefix)
      .i32(static_cast<std::int64_t>(content.size()))
      .raw(content);
}

// What outbox.emit writes into the wal store (migrations/service/0002_emit.up.sql).
inline std::string outbox_content(const std::string& subject, const std::string& payload) {
  MessageBytes bytes('\x01');
  bytes.raw(std::string(16, '\xab')).i32(static_cast<std::int64_t>(subject.size())).raw(subject);
  for (int i = 0; i < 4; ++i) bytes.i32(-1);
  return bytes.raw(payload).text();
}

}  // namespace postrider::test
