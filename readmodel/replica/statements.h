// The SQL that writes rows into a replica table. Pure: text to text.
//
// Values go in as untyped literals of VALUES lists and of SET, so that the server reads each with
// the input function and the modifier of its column, as if somebody had typed it: exact for every
// type, and the fastest way measured. They rely on standard_conforming_strings = on.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "readmodel/replica/change.h"
#include "readmodel/replica/target_table.h"

namespace postrider::replica {

inline constexpr std::size_t kStatementBytes = 1024UL * 1024;  // begins another when exceeded

struct Statement {
  std::string sql;
  std::size_t rows = 0;
};

[[nodiscard]] std::string quoted_name(std::string_view name);
[[nodiscard]] std::string full_name(const TargetTable& table);
// Its rows as a statement finds them: without those of tables that inherit from it, which are
// replicas of their own.
[[nodiscard]] std::string own_rows(const TargetTable& table);

// True when append_literal can write the value.
[[nodiscard]] bool is_writable(const Cell& cell, const Column& column);
// The value as the column's input function takes it; the cell must be a value. A view of the event,
// or of `unescaped`.
[[nodiscard]] std::string_view text_of(const Cell& cell, const Column& column,
                                       std::string& unescaped);
// The cell must be present.
void append_literal(std::string& out, const Cell& cell, const Column& column);

// Columns that `row` says something about, and that may be written.
[[nodiscard]] std::vector<std::size_t> written_columns(const TargetTable& table, const Cells& row);
// Their names, quoted, with commas between them.
[[nodiscard]] std::string names(const TargetTable& table, const std::vector<std::size_t>& columns);
// How many of the first rows say something about the same columns.
[[nodiscard]] std::size_t rows_alike(std::span<const Cells> rows);

// Rows keep their order. Each row's present columns are written; rows with the same ones share a
// statement.
[[nodiscard]] std::vector<Statement> insert(const TargetTable& table, std::span<const Cells> rows);
// INSERT ... ON CONFLICT (key) DO UPDATE.
[[nodiscard]] std::vector<Statement> upsert(const TargetTable& table, std::span<const Cells> rows);
// By key.
[[nodiscard]] std::vector<Statement> erase(const TargetTable& table, std::span<const Cells> rows);
// Updates of rows that are there.
[[nodiscard]] std::vector<Statement> patch(const TargetTable& table, std::span<const Cells> rows);
// One row, found by the key in `old`: the columns of `row`, the key's included.
[[nodiscard]] std::string move(const TargetTable& table, const Cells& old, const Cells& row);
// All rows of the tables, at once: foreign keys between them are looked at afterwards. A DELETE,
// since TRUNCATE shows readers with older snapshots a table that was never empty as empty.
[[nodiscard]] std::string truncate(const std::vector<const TargetTable*>& tables);

// For tables without key: one row that is equal to `old` in all columns that are present there.
[[nodiscard]] std::string erase_equal(const TargetTable& table, const Cells& old);
[[nodiscard]] std::string update_equal(const TargetTable& table, const Cells& old,
                                       const Cells& row);

}  // namespace postrider::replica
