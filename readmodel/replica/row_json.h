// A row change as the relay writes it, taken apart: docs/capture.md, "Row changes". Pure.
//
//   {"op":"update","schema":"public","table":"t",
//    "new":{NAME:VALUE,...},"old":{...},"unchanged":[NAME,...],"json_null":[...],
//    "old_json_null":[...]}
//
// Members may come in any order; unknown ones are passed over. Names and values stay as they are
// written: a value of type json must arrive byte for byte, blanks around it included, and a number
// must not become a double on its way.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "postrider/received_event.h"

namespace postrider::replica {

enum class Op : std::uint8_t { kInsert, kUpdate, kDelete, kTruncate, kRead };

struct Member {
  std::string_view name;   // JSON string, with its quotes
  std::string_view value;  // JSON, with the blanks around it
};

// Views the payload that it was parsed from.
struct RowJson {
  Op op = Op::kInsert;
  std::string_view schema;  // JSON strings, with their quotes
  std::string_view table;
  std::vector<Member> row;  // "new"
  std::vector<Member> old;
  bool has_old = false;
  std::vector<std::string_view> unchanged;  // JSON strings
  std::vector<std::string_view> json_null;
  std::vector<std::string_view> old_json_null;
};

// True for what a relay writes about a captured table's row, in whichever format.
[[nodiscard]] bool is_row_change(const ReceivedEvent& event);
// Of a row change: true when it is in Debezium's envelope.
[[nodiscard]] bool is_debezium(const ReceivedEvent& event);

// Reuses the memory of `into`. kMalformedEvent for what is no row change.
[[nodiscard]] Result<void> parse_row_json(std::string_view payload, RowJson& into);

// Without blanks (JSON's) at its ends.
[[nodiscard]] std::string_view trimmed(std::string_view json);
// Appends what a JSON string stands for, in UTF-8. False, with `out` unfinished, when it is none or
// holds what PostgreSQL's text cannot: U+0000, half a surrogate pair.
[[nodiscard]] bool append_unescaped(std::string& out, std::string_view json_string);

}  // namespace postrider::replica
