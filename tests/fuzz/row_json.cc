// A row change from the relay's writer to the read model's reader: every value that goes in comes
// out as SQL that stands for it. And text of anybody's making is read or refused, never misread.
#include <array>
#include <nlohmann/json.hpp>

#include "readmodel/replica/decoder.h"
#include "readmodel/replica/row_json.h"
#include "readmodel/replica/statements.h"
#include "relay/capture/captured_table.h"
#include "relay/capture/row_value.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

using wire::Value;

constexpr std::uint32_t kText = 25;
constexpr std::array<std::uint32_t, 6> kTypes = {
    kText, pg_type::kInt8, pg_type::kBool, pg_type::kFloat8, pg_type::kJson, pg_type::kBytea};

// Text that PostgreSQL could have sent for the type: of text, UTF-8 without NUL.
std::string make_text(Input& in, std::uint32_t type) {
  switch (type) {
    case pg_type::kInt8:
      return std::to_string(static_cast<std::int64_t>(in.u64()));
    case pg_type::kBool:
      return in.flag() ? "t" : "f";
    case pg_type::kFloat8: {
      constexpr std::array<const char*, 5> kFloats = {"0", "-0", "1e+308", "NaN", "-Infinity"};
      return kFloats[in.below(kFloats.size())];
    }
    case pg_type::kJson: {
      constexpr std::array<const char*, 6> kJsons = {
          "null", " null ", "{\"a\" : [1, {}]}", "\"n\\\"\\u0041\"", " [ ] ", "1e400"};
      return kJsons[in.below(kJsons.size())];
    }
    case pg_type::kBytea:
      return in.flag() ? "\\x" : "\\x00ff";
    default:
      break;
  }
  std::string text;
  for (const char c : in.text()) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) continue;
    if (byte < 0x80)
      text += c;
    else
      text.append(1, '\xC3').append(1, static_cast<char>(0x80U | (byte & 0x3FU)));
  }
  return text;
}

// What a server reads in the literal: the text between the quotes.
std::string literal(const replica::Cell& cell, const replica::Column& column) {
  std::string sql;
  replica::append_literal(sql, cell, column);
  if (sql == "NULL") return sql;
  REQUIRE(sql.size() >= 2 && sql.front() == '\'' && sql.back() == '\'');
  std::string text;
  for (std::size_t i = 1; i + 1 < sql.size(); ++i) {
    text += sql[i];
    if (sql[i] != '\'') continue;
    REQUIRE(i + 2 < sql.size() && sql[i + 1] == '\'');
    ++i;
  }
  return text;
}

// PostgreSQL's input functions take these for what its output functions write.
std::string as_input(std::uint32_t type, const std::string& text) {
  if (type == pg_type::kBool) return text == "t" ? "true" : "false";
  return text;
}

struct Table {
  std::vector<std::string> names;
  std::vector<std::string> texts;
  wire::Relation relation;
  wire::Tuple row;
  replica::TargetTable target;
};

Table make_table(Input& in) {
  Table table;
  table.relation = {1, "public", "t \"\\\n", wire::ReplicaIdentity::kDefault, {}};
  const std::size_t width = 1 + in.below(5);
  for (std::size_t i = 0; i < width; ++i)
    table.names.push_back(std::to_string(i) + make_text(in, kText));
  table.texts.resize(width);
  for (std::size_t i = 0; i < width; ++i) {
    const auto type = kTypes[in.below(kTypes.size())];
    table.relation.columns.push_back({table.names[i], type, i == 0});
    table.texts[i] = make_text(in, type);
    const auto kind = i == 0 ? 0 : in.below(4);
    if (kind == 3)
      table.row.push_back({Value::Kind::kUnchangedToast, {}});
    else if (kind == 2)
      table.row.push_back({});
    else
      table.row.push_back({Value::Kind::kText, table.texts[i]});
    replica::Column column;
    column.name = table.names[i];
    column.is_json = type == pg_type::kJson;
    table.target.columns.push_back(column);
  }
  table.target.key.push_back({0, "="});
  return table;
}

void require_round_trip(Input in) {
  const Table table = make_table(in);
  CaptureRule rule;
  rule.tables = {"public.*"};
  CapturedTable captured(table.relation, rule);
  const bool inserts = in.flag();
  bool toast = false;
  for (const auto& value : table.row) toast |= value.kind == Value::Kind::kUnchangedToast;
  OutboxEvent event;
  REQUIRE(captured
              .write({.op = inserts && !toast ? RowOp::kInsert : RowOp::kUpdate, .row = &table.row},
                     event)
              .has_value());
  if (event.payload.find("1e400") == std::string::npos)
    REQUIRE(nlohmann::json::accept(event.payload));

  replica::RowJson json;
  REQUIRE(replica::parse_row_json(event.payload, json).has_value());
  replica::Decoder decoder(table.target);
  replica::Change change;
  std::vector<std::string> unknown;
  REQUIRE(decoder.decode(json, change, unknown).has_value() && unknown.empty());
  REQUIRE(change.complete == !toast && change.row.size() == table.row.size());
  REQUIRE(decoder.check_key(json, *event.key).has_value());
  for (std::size_t i = 0; i < table.row.size(); ++i) {
    const auto& cell = change.row[i];
    switch (table.row[i].kind) {
      case Value::Kind::kUnchangedToast:
        REQUIRE(cell.kind == replica::Cell::Kind::kAbsent);
        break;
      case Value::Kind::kNull:
        REQUIRE(cell.kind == replica::Cell::Kind::kNull);
        break;
      default:
        REQUIRE(cell.kind == replica::Cell::Kind::kValue);
        REQUIRE(literal(cell, table.target.columns[i]) ==
                as_input(table.relation.columns[i].type, table.texts[i]));
    }
  }
}

void require_whatever(std::string_view text) {
  const MemoryBound bound(text.size(), 256, 65536);
  replica::RowJson json;
  if (!replica::parse_row_json(text, json)) return;
  std::string unescaped;
  (void)replica::append_unescaped(unescaped, json.table);
  replica::TargetTable target;
  for (const auto* name : {"id", "j", "t"}) target.columns.push_back({name, "text"});
  target.columns[1].is_json = true;
  target.key.push_back({0, "="});
  replica::Decoder decoder(target);
  replica::Change change;
  std::vector<std::string> unknown;
  if (!decoder.decode(json, change, unknown) || !unknown.empty()) return;
  // Whatever is accepted can be written, and no literal ends before its end.
  for (const auto* cells : {&change.row, &change.old})
    for (std::size_t i = 0; i < cells->size(); ++i) (void)literal((*cells)[i], target.columns[i]);
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  require_whatever({reinterpret_cast<const char*>(data), size});
  require_round_trip(Input({data, size}));
  return 0;
}
