#include "tests/fuzz/pgoutput_writer.h"

#include <cstdint>

namespace postrider::fuzz {
namespace {

using namespace wire;

constexpr std::int64_t kPostgresEpochUs = 946'684'800'000'000;

class Writer {
 public:
  std::string out;

  template <class T>
  Writer& integer(T value) {
    for (std::size_t i = sizeof(T); i-- > 0;)
      out += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xFFU);
    return *this;
  }
  Writer& letter(char c) {
    out += c;
    return *this;
  }
  Writer& c_string(std::string_view text) {
    out.append(text).append(1, '\0');
    return *this;
  }
  Writer& counted(std::string_view text) {
    integer(static_cast<std::uint32_t>(text.size()));
    out += text;
    return *this;
  }
  Writer& tuple(const Tuple& row) {
    integer(static_cast<std::uint16_t>(row.size()));
    for (const auto& value : row) {
      constexpr std::string_view kKinds = "nutb";
      letter(kKinds[static_cast<std::size_t>(value.kind)]);
      if (value.kind == Value::Kind::kText || value.kind == Value::Kind::kBinary)
        counted(value.data);
    }
    return *this;
  }
  Writer& old_row(OldRow kind, const Tuple& row) {
    if (kind != OldRow::kNone) letter(kind == OldRow::kKey ? 'K' : 'O').tuple(row);
    return *this;
  }

  void operator()(const Begin& m) {
    letter('B').integer(m.commit_lsn.value).integer(m.commit_time_us - kPostgresEpochUs);
    integer(m.xid);
  }
  void operator()(const Commit& m) {
    letter('C').integer(std::uint8_t{0}).integer(m.commit_lsn.value).integer(m.end_lsn.value);
    integer(std::int64_t{0});
  }
  void operator()(const Origin&) { letter('O').integer(std::uint64_t{0}).c_string(""); }
  void operator()(const Type&) { letter('Y').integer(std::uint32_t{0}).c_string("").c_string(""); }
  void operator()(const Relation& m) {
    constexpr std::string_view kIdentities = "dnfi";
    letter('R').integer(m.oid).c_string(m.schema).c_string(m.name);
    letter(kIdentities[static_cast<std::size_t>(m.identity)]);
    integer(static_cast<std::uint16_t>(m.columns.size()));
    for (const auto& column : m.columns) {
      integer(static_cast<std::uint8_t>(column.key ? 1 : 0)).c_string(column.name);
      integer(column.type).integer(std::int32_t{0});
    }
  }
  void operator()(const Insert& m) { letter('I').integer(m.oid).letter('N').tuple(m.row); }
  void operator()(const Update& m) {
    letter('U').integer(m.oid).old_row(m.old_kind, m.old).letter('N').tuple(m.row);
  }
  void operator()(const Delete& m) { letter('D').integer(m.oid).old_row(m.old_kind, m.old); }
  void operator()(const Truncate& m) {
    letter('T').integer(static_cast<std::uint32_t>(m.oids.size()));
    integer(static_cast<std::uint8_t>((m.cascade ? 1 : 0) | (m.restart_identity ? 2 : 0)));
    for (const auto oid : m.oids) integer(oid);
  }
  void operator()(const LogicalMessage& m) {
    letter('M').integer(static_cast<std::uint8_t>(m.transactional ? 1 : 0));
    integer(std::uint64_t{0}).c_string(m.prefix).counted(as_text(m.content));
  }
};

}  // namespace

std::string write_pgoutput(const PgOutputMessage& message) {
  Writer writer;
  std::visit(writer, message);
  return std::move(writer.out);
}

}  // namespace postrider::fuzz
