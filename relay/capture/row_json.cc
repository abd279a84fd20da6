#include "relay/capture/row_json.h"

#include <string_view>

#include "relay/capture/captured_table.h"
#include "relay/capture/json_text.h"
#include "relay/capture/row_value.h"

namespace postrider {
namespace {

using wire::Value;

void append_name(std::string& out, std::string_view prefix, std::string_view name) {
  if (out.back() != '{' && out.back() != '[') out += ',';
  append_json_string(out, name);
  out += prefix;
}

// Appends ,"list":[...] of the columns that `member` holds for; nothing when there are none.
template <class Member>
void append_list(std::string& out, const CapturedTable& table, std::string_view list,
                 Member member) {
  bool any = false;
  for (const auto& column : table.columns()) {
    if (!member(column)) continue;
    if (!any) out.append(",\"").append(list).append("\":[");
    any = true;
    append_name(out, "", column.name);
  }
  if (any) out += ']';
}

void append_member(std::string& out, const CapturedColumn& column, const Value& value) {
  append_name(out, ":", column.name);
  if (value.kind == Value::Kind::kText && column.replaced())
    append_json_string(out, value.data);
  else if (value.kind == Value::Kind::kText)
    append_value(out, column.type, value.data);
  else
    out += "null";
}

bool is_json_null(const CapturedColumn& column, const Value& value) {
  return value.kind == Value::Kind::kText && !column.replaced() &&
         postrider::is_json_null(column.type, value.data);
}

}  // namespace

void write_row_json(const CapturedTable& table, const RowChange& change, std::string& out) {
  out.append("{\"op\":\"").append(to_string(change.op)).append("\",\"schema\":");
  append_json_string(out, table.schema());
  out += ",\"table\":";
  append_json_string(out, table.name());
  if (change.row != nullptr) {
    out += ",\"new\":{";
    for (const auto& column : table.columns()) {
      const Value value = table.value_of(change, column);
      if (value.kind != Value::Kind::kUnchangedToast) append_member(out, column, value);
    }
    out += '}';
  }
  if (change.old != nullptr) {
    out += ",\"old\":{";
    for (const auto& column : table.columns())
      if (CapturedTable::has_old(change, column))
        append_member(out, column, table.old_value_of(change, column));
    out += '}';
  }
  if (change.row != nullptr) {
    append_list(out, table, "unchanged", [&](const CapturedColumn& column) {
      return table.value_of(change, column).kind == Value::Kind::kUnchangedToast;
    });
    append_list(out, table, "json_null", [&](const CapturedColumn& column) {
      return is_json_null(column, table.value_of(change, column));
    });
  }
  append_list(out, table, "old_json_null", [&](const CapturedColumn& column) {
    return CapturedTable::has_old(change, column) &&
           is_json_null(column, table.old_value_of(change, column));
  });
  out += '}';
}

}  // namespace postrider
