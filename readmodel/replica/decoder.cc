#include "readmodel/replica/decoder.h"

#include <algorithm>
#include <utility>

#include "readmodel/replica/key_text.h"
#include "readmodel/replica/statements.h"

namespace postrider::replica {
namespace {

constexpr int kUnknown = -1;
constexpr int kIgnored = -2;

std::string unescaped(std::string_view quoted) {
  std::string text;
  return append_unescaped(text, quoted) ? text : std::string(quoted);
}

bool contains(const std::vector<std::string_view>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

constexpr const char* kGiveItsKey =
    "give the target table the key of the source's replica identity: the columns of its REPLICA "
    "IDENTITY USING INDEX where it has one, else of its primary key";

}  // namespace

Decoder::Decoder(const TargetTable& table) : table_(table), key_(table.key_columns()) {
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    by_name_.emplace(table.columns[i].name,
                     table.columns[i].generated ? kIgnored : static_cast<int>(i));
}

void Decoder::ignore(const std::string& name) {
  by_name_.insert_or_assign(name, kIgnored);
  by_json_.clear();
}

int Decoder::column_of(std::string_view quoted_name) {
  if (const auto found = by_json_.find(quoted_name); found != by_json_.end()) return found->second;
  const auto found = by_name_.find(unescaped(quoted_name));
  if (found == by_name_.end()) return kUnknown;
  by_json_.emplace(quoted_name, found->second);
  return found->second;
}

Result<void> Decoder::read_cells(const std::vector<Member>& members,
                                 const std::vector<std::string_view>& json_null, Cells& cells,
                                 std::vector<std::string>& unknown) {
  cells.assign(table_.columns.size(), Cell{});
  for (const auto& [name, value] : members) {
    const int index = column_of(name);
    if (index == kUnknown) unknown.push_back(unescaped(name));
    if (index < 0) continue;
    const Column& column = table_.columns[static_cast<std::size_t>(index)];
    Cell& cell = cells[static_cast<std::size_t>(index)];
    const auto bare = trimmed(value);
    if (bare == "null" && !contains(json_null, name)) {
      cell = {Cell::Kind::kNull, {}};
      continue;
    }
    cell = {Cell::Kind::kValue, column.is_json ? value : bare};
    if (!is_writable(cell, column))
      return fail(ErrorKind::kMalformedEvent, "the value of column \"" + column.name + "\" of " +
                                                  full_name(table_) + " is no text");
  }
  return {};
}

Error Decoder::no_key() const {
  return {ErrorKind::kReplicaTable,
          full_name(table_) + " has no primary key, and the source does not send whole old rows",
          "ALTER TABLE " + full_name(table_) +
              " ADD PRIMARY KEY (the key of the source's replica identity), or REPLICA IDENTITY "
              "FULL at the source"};
}

Result<void> Decoder::check_old(const Change& change, bool has_old) const {
  if (change.op != Op::kDelete && change.op != Op::kUpdate) return {};
  if (!has_old) {
    if (change.op == Op::kUpdate && !key_.empty()) return {};
    if (key_.empty()) return tl::unexpected(no_key());
    return fail(ErrorKind::kMalformedEvent, "a delete from " + full_name(table_) + " without key");
  }
  if (key_.empty()) {
    const bool says_something = std::ranges::any_of(change.old, &Cell::present);
    if (!says_something) return tl::unexpected(no_key());
    return {};
  }
  for (const std::size_t i : key_)
    if (change.old[i].kind != Cell::Kind::kValue)
      return fail(ErrorKind::kReplicaTable,
                  "the key of " + full_name(table_) + " holds \"" + table_.columns[i].name +
                      "\", which old rows of the source do not tell",
                  kGiveItsKey);
  return {};
}

// PostgreSQL sends a row that an update brings into a row filter as an insert, and what that update
// did not touch is then nowhere.
Result<void> Decoder::check_whole(const RowJson& json, const Change& change) const {
  if (change.complete || change.op == Op::kUpdate) return {};
  std::string source(unescaped(json.schema) + "." + unescaped(json.table));
  return fail(ErrorKind::kReplicaTable,
              "a row came into the row filter of the source's " + source +
                  " by an update, without its large values: they are unknown",
              "ALTER TABLE " + source +
                  " REPLICA IDENTITY FULL at the source; leave the table out of replica.tables "
                  "until the applier has passed this event; take it in again, and replace its "
                  "rows: postrider backfill start --replace " +
                  source);
}

Result<void> Decoder::check_row(Change& change) const {
  for (const std::size_t i : key_) {
    // A key value that is large and unchanged: the old row has it.
    if (!change.row[i].present() && !change.old.empty()) change.row[i] = change.old[i];
    if (change.row[i].kind != Cell::Kind::kValue)
      return fail(ErrorKind::kReplicaTable,
                  "the key of " + full_name(table_) + " holds \"" + table_.columns[i].name +
                      "\", for which the source's row has no value",
                  kGiveItsKey);
  }
  if (!change.complete) return {};
  for (std::size_t i = 0; i < change.row.size(); ++i)
    if (table_.columns[i].required && !change.row[i].present())
      return fail(ErrorKind::kReplicaTable,
                  "column \"" + table_.columns[i].name + "\" of " + full_name(table_) +
                      " is NOT NULL and has no default, and the source's rows do not have it",
                  "ALTER TABLE " + full_name(table_) + " ALTER COLUMN " +
                      quoted_name(table_.columns[i].name) + " DROP NOT NULL, or drop the column");
  return {};
}

Result<void> Decoder::check_key(const RowJson& json, std::string_view told) {
  if (key_.empty() || json.op == Op::kTruncate) return {};
  std::size_t found = 0;
  key_text_.clear();
  for (const auto& [name, value] : json.op == Op::kDelete ? json.old : json.row) {
    const int index = column_of(name);
    if (index < 0 || std::ranges::find(key_, static_cast<std::size_t>(index)) == key_.end())
      continue;
    // As the relay writes it: without a comma behind columns that are empty and come first.
    ++found;
    if (!key_text_.empty()) key_text_ += ',';
    append_key_text(key_text_, value, table_.columns[static_cast<std::size_t>(index)].is_json);
  }
  // Large and unchanged: then the old row has told the key's columns.
  if (found < key_.size() || key_text_ == told) return {};
  std::string columns;
  for (const std::size_t i : key_)
    columns += (columns.empty() ? "" : ", ") + quoted_name(table_.columns[i].name);
  return fail(ErrorKind::kReplicaTable,
              "the key of " + full_name(table_) + " is (" + columns +
                  "), but the source tells its rows by another",
              kGiveItsKey);
}

Result<void> Decoder::decode(const RowJson& json, Change& into, std::vector<std::string>& unknown) {
  into.op = json.op;
  into.complete = true;
  into.row.clear();
  into.old.clear();
  unknown.clear();
  if (json.op == Op::kTruncate) return {};
  if (json.has_old) {
    if (auto read = read_cells(json.old, json.old_json_null, into.old, unknown); !read) return read;
  }
  if (json.op != Op::kDelete) {
    if (auto read = read_cells(json.row, json.json_null, into.row, unknown); !read) return read;
    for (const auto name : json.unchanged) {
      const int index = column_of(name);
      if (index == kUnknown) unknown.push_back(unescaped(name));
      if (index >= 0) into.complete = false;
    }
  }
  if (!unknown.empty()) return {};
  if (auto whole = check_whole(json, into); !whole) return whole;
  if (auto good = check_old(into, json.has_old); !good) return good;
  return into.row.empty() ? Result<void>{} : check_row(into);
}

}  // namespace postrider::replica
