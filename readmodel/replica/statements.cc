#include "readmodel/replica/statements.h"

#include <algorithm>

#include "readmodel/replica/row_json.h"

namespace postrider::replica {
namespace {

void append_quoted(std::string& out, std::string_view text) {
  out += '\'';
  std::size_t at = 0;
  while (at < text.size()) {
    const auto quote = text.find('\'', at);
    out.append(text.substr(at, quote - at));
    if (quote == std::string_view::npos) break;
    out += "''";
    at = quote + 1;
  }
  out += '\'';
}

bool is_string(std::string_view json) {
  return !json.empty() && json.front() == '"';
}

bool same_columns(const Cells& a, const Cells& b) {
  return std::ranges::equal(a, b, {}, &Cell::present, &Cell::present);
}

bool is_key(const TargetTable& table, std::size_t column) {
  return std::ranges::find(table.key, column, &KeyColumn::column) != table.key.end();
}

// One row of a VALUES list. The first row of a list that stands by itself says its types.
void append_row(std::string& out, const TargetTable& table, const std::vector<std::size_t>& columns,
                const Cells& cells, bool typed) {
  out += '(';
  bool first = true;
  for (const std::size_t i : columns) {
    if (!first) out += ',';
    first = false;
    append_literal(out, cells[i], table.columns[i]);
    if (typed) out.append("::").append(table.columns[i].type);
  }
  out += ')';
}

// Statements of `head` VALUES list `tail` over rows that have the same columns.
template <class Head, class Tail>
std::vector<Statement> in_lists(const TargetTable& table, std::span<const Cells> rows, bool typed,
                                bool only_key, Head head, Tail tail) {
  std::vector<Statement> statements;
  std::size_t at = 0;
  while (at < rows.size()) {
    const Cells& first = rows[at];
    const auto columns = only_key ? table.key_columns() : written_columns(table, first);
    Statement statement;
    statement.sql = head(columns);
    do {
      if (statement.rows > 0) statement.sql += ',';
      append_row(statement.sql, table, columns, rows[at], typed && statement.rows == 0);
      ++statement.rows;
      ++at;
    } while (at < rows.size() && statement.sql.size() < kStatementBytes &&
             (only_key || same_columns(first, rows[at])));
    statement.sql += tail(columns);
    statements.push_back(std::move(statement));
  }
  return statements;
}

std::vector<Statement> inserts(const TargetTable& table, std::span<const Cells> rows,
                               bool on_conflict) {
  return in_lists(
      table, rows, false, false,
      [&](const std::vector<std::size_t>& columns) {
        return "INSERT INTO " + full_name(table) + " (" + names(table, columns) +
               ") OVERRIDING SYSTEM VALUE VALUES ";
      },
      [&](const std::vector<std::size_t>& columns) -> std::string {
        if (!on_conflict) return "";
        std::string assignments;
        for (const std::size_t i : columns) {
          if (is_key(table, i)) continue;
          const auto name = quoted_name(table.columns[i].name);
          assignments += (assignments.empty() ? "" : ", ") + name + " = excluded." + name;
        }
        return " ON CONFLICT (" + names(table, table.key_columns()) + ") DO " +
               (assignments.empty() ? "NOTHING" : "UPDATE SET " + assignments);
      });
}

// t.key = v.key for each column of the key.
std::string same_key(const TargetTable& table) {
  std::string text;
  for (const auto& column : table.key) {
    const auto name = quoted_name(table.columns[column.column].name);
    text += (text.empty() ? "t." : " AND t.") + name + " " + column.equals + " v." + name;
  }
  return text;
}

void append_assignments(std::string& out, const TargetTable& table, const Cells& row) {
  bool first = true;
  for (const std::size_t i : written_columns(table, row)) {
    if (!first) out += ", ";
    first = false;
    out.append(quoted_name(table.columns[i].name)).append(" = ");
    append_literal(out, row[i], table.columns[i]);
  }
}

// Compared as text, since not every type has an equality. Both sides are of one session.
std::string equal_row(const TargetTable& table, const Cells& old) {
  std::string text = "(tableoid, ctid) = (SELECT tableoid, ctid FROM " + own_rows(table);
  const char* before = " WHERE ";
  for (const std::size_t i : written_columns(table, old)) {
    const Column& column = table.columns[i];
    text.append(before).append(quoted_name(column.name)).append("::text IS NOT DISTINCT FROM (");
    append_literal(text, old[i], column);
    text.append("::").append(column.type).append(")::text");
    before = " AND ";
  }
  return text + " LIMIT 1)";
}

}  // namespace

std::string quoted_name(std::string_view name) {
  std::string text = "\"";
  for (const char c : name) {
    if (c == '"') text += '"';
    text += c;
  }
  return text + '"';
}

std::string full_name(const TargetTable& table) {
  return quoted_name(table.schema) + "." + quoted_name(table.name);
}

std::string own_rows(const TargetTable& table) {
  return (table.partitioned ? "" : "ONLY ") + full_name(table);
}

bool is_writable(const Cell& cell, const Column& column) {
  if (cell.kind != Cell::Kind::kValue || column.is_json) return true;
  const auto json = trimmed(cell.json);
  if (!is_string(json) || json.find('\\') == std::string_view::npos) return true;
  std::string text;
  return append_unescaped(text, json);
}

std::vector<std::size_t> written_columns(const TargetTable& table, const Cells& row) {
  std::vector<std::size_t> columns;
  for (std::size_t i = 0; i < row.size(); ++i)
    if (row[i].present() && !table.columns[i].generated) columns.push_back(i);
  return columns;
}

std::string names(const TargetTable& table, const std::vector<std::size_t>& columns) {
  std::string list;
  for (const std::size_t i : columns)
    list += (list.empty() ? "" : ", ") + quoted_name(table.columns[i].name);
  return list;
}

std::size_t rows_alike(std::span<const Cells> rows) {
  const auto other = std::ranges::find_if_not(
      rows, [&](const Cells& row) { return same_columns(rows.front(), row); });
  return static_cast<std::size_t>(other - rows.begin());
}

std::string_view text_of(const Cell& cell, const Column& column, std::string& unescaped) {
  if (column.is_json) return cell.json;
  const auto json = trimmed(cell.json);
  if (!is_string(json)) return json;
  if (json.find('\\') == std::string_view::npos) return json.substr(1, json.size() - 2);
  unescaped.clear();
  (void)append_unescaped(unescaped, json);
  return unescaped;
}

void append_literal(std::string& out, const Cell& cell, const Column& column) {
  if (cell.kind != Cell::Kind::kValue) {
    out += "NULL";
    return;
  }
  std::string unescaped;
  append_quoted(out, text_of(cell, column, unescaped));
}

std::vector<Statement> insert(const TargetTable& table, std::span<const Cells> rows) {
  return inserts(table, rows, false);
}

std::vector<Statement> upsert(const TargetTable& table, std::span<const Cells> rows) {
  return inserts(table, rows, true);
}

std::vector<Statement> erase(const TargetTable& table, std::span<const Cells> rows) {
  return in_lists(
      table, rows, true, true,
      [&](const auto&) { return "DELETE FROM " + own_rows(table) + " t USING (VALUES "; },
      [&](const auto& columns) {
        return ") v (" + names(table, columns) + ") WHERE " + same_key(table);
      });
}

std::vector<Statement> patch(const TargetTable& table, std::span<const Cells> rows) {
  return in_lists(
      table, rows, true, false,
      [&](const auto& columns) {
        std::string assignments;
        for (const std::size_t i : columns) {
          if (is_key(table, i) && columns.size() > table.key.size()) continue;
          const auto name = quoted_name(table.columns[i].name);
          assignments += (assignments.empty() ? "" : ", ") + name + " = v." + name;
        }
        return "UPDATE " + own_rows(table) + " t SET " + assignments + " FROM (VALUES ";
      },
      [&](const auto& columns) {
        return ") v (" + names(table, columns) + ") WHERE " + same_key(table);
      });
}

std::string move(const TargetTable& table, const Cells& old, const Cells& row) {
  std::string sql = "UPDATE " + own_rows(table) + " t SET ";
  append_assignments(sql, table, row);
  const char* before = " WHERE t.";
  for (const auto& key : table.key) {
    const Column& column = table.columns[key.column];
    sql.append(before).append(quoted_name(column.name)).append(" " + key.equals + " ");
    append_literal(sql, old[key.column], column);
    sql.append("::").append(column.type);
    before = " AND t.";
  }
  return sql;
}

std::string truncate(const std::vector<const TargetTable*>& tables) {
  std::string with;
  for (std::size_t i = 0; i + 1 < tables.size(); ++i)
    with += (with.empty() ? "WITH d" : ", d") + std::to_string(i) + " AS (DELETE FROM " +
            own_rows(*tables[i]) + ")";
  return with + (with.empty() ? "" : " ") + "DELETE FROM " + own_rows(*tables.back());
}

std::string erase_equal(const TargetTable& table, const Cells& old) {
  return "DELETE FROM " + own_rows(table) + " WHERE " + equal_row(table, old);
}

std::string update_equal(const TargetTable& table, const Cells& old, const Cells& row) {
  std::string sql = "UPDATE " + own_rows(table) + " SET ";
  append_assignments(sql, table, row);
  return sql + " WHERE " + equal_row(table, old);
}

}  // namespace postrider::replica
