// The message of a backfill, and the record texts in it. Records that PostgreSQL's rule writes are
// read as they were written; anything else is refused, within bounded memory.
#include "relay/transaction/backfill_reader.h"

#include <vector>

#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

using wire::Value;

// As rowtypes.c, record_out: quoted where it must be, quotes and backslashes doubled.
void append_record(std::string& out, const wire::Tuple& row) {
  out += '(';
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i > 0) out += ',';
    if (row[i].kind == Value::Kind::kNull) continue;
    const auto text = row[i].data;
    const bool quoted =
        text.empty() || text.find_first_of("\"\\(), \t\n\r\v\f") != std::string_view::npos;
    if (quoted) out += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') out += c;
      out += c;
    }
    if (quoted) out += '"';
  }
  out += ')';
}

void require_records(Input in) {
  std::vector<wire::Tuple> rows(1 + in.below(4));
  const std::size_t width = 1 + in.below(6);
  std::string text;
  for (auto& row : rows) {
    for (std::size_t i = 0; i < width; ++i) {
      if (in.flag())
        row.push_back({Value::Kind::kText, in.text()});
      else
        row.push_back({});
    }
    append_record(text, row);
  }
  wire::RecordReader reader(text);
  wire::Tuple read;
  for (const auto& row : rows) {
    REQUIRE(reader.next(read).has_value() && read.size() == row.size());
    for (std::size_t i = 0; i < width; ++i)
      REQUIRE(read[i].kind == row[i].kind && read[i].data == row[i].data);
  }
  REQUIRE(reader.at_end());
}

void require_whatever(std::string_view content) {
  const MemoryBound bound(content.size(), 4096, 65536);
  wire::LogicalMessage message;
  message.content = wire::as_bytes(content);
  BackfillReader reader;
  if (!reader.open(message)) return;
  std::size_t changes = 0;
  while (true) {
    const auto change = reader.next();
    if (!change) {
      REQUIRE(change.error().kind == ErrorKind::kProtocol);
      return;
    }
    if (!change->has_value()) return;
    REQUIRE(++changes <= content.size());
  }
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  require_whatever({reinterpret_cast<const char*>(data), size});
  require_records(Input({data, size}));
  return 0;
}
