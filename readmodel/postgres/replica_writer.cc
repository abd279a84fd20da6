#include "readmodel/postgres/replica_writer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/postgres/copy_in.h"
#include "readmodel/replica/statements.h"
#include "readmodel/replica/table_order.h"

namespace postrider {
namespace {

using replica::Cells;
using replica::Change;
using replica::Folded;
using replica::Op;
using replica::TargetTable;

// Fewer rows than that, one after the other and of the same columns, go in by INSERT: a COPY is a
// round trip of its own.
constexpr std::size_t kLeastToCopy = 50;
// Of a key or an exclusion constraint above all: a row that an upsert would find is in the way of
// a COPY. Upserts meet the others again, and say so.
constexpr std::string_view kConstraintViolation = "23";

std::span<const Cells> one(const Cells& row) {
  return {&row, 1};
}

}  // namespace

void ReplicaWriter::write_folded(std::span<const BoundChange> changes) {
  std::vector<ReplicaTable*> touched;
  std::vector<const TargetTable*> targets;
  for (const auto& [table, change] : changes) {
    if (std::ranges::find(touched, table) == touched.end()) {
      touched.push_back(table);
      targets.push_back(&table->target);
    }
    if (table->fold.add(change)) continue;
    const Folded before = table->fold.take();
    if (before.truncated) add(replica::truncate({&table->target}), 0);
    write_deletes(table->target, before);
    write_rows(*table, before);
    write_alone(table->target, change);
  }
  struct OfTable {
    ReplicaTable* table;
    Folded folded;
  };
  std::unordered_map<const TargetTable*, OfTable> folded;
  for (auto* table : touched) folded.emplace(&table->target, OfTable{table, table->fold.take()});
  const auto order = replica::parents_first(targets);
  std::vector<const TargetTable*> truncated;
  const auto empty_truncated = [&] {
    if (!truncated.empty()) add(replica::truncate(truncated), 0);
    truncated.clear();
  };
  for (auto table = order.rbegin(); table != order.rend(); ++table) {
    const Folded& of_table = folded.at(*table).folded;
    if (of_table.truncated) {
      truncated.push_back(*table);
    } else if (!of_table.deletes.empty()) {
      empty_truncated();
      write_deletes(**table, of_table);
    }
  }
  empty_truncated();
  for (const auto* target : order) {
    const auto& [table, of_table] = folded.at(target);
    write_rows(*table, of_table);
  }
  flush();
}

void ReplicaWriter::write_deletes(const TargetTable& table, const Folded& folded) {
  add(replica::erase(table, folded.deletes));
}

void ReplicaWriter::write_rows(ReplicaTable& table, const Folded& folded) {
  missing_ += folded.missing;
  for (const auto& statement : replica::patch(table.target, folded.patches))
    run_expecting(statement.sql, statement.rows);
  write_whole(table, folded);
  if (folded.appends.size() >= kLeastToCopy && !table.target.has_rules)
    copy(table.target, folded.appends, tx_);
  else
    add(replica::insert(table.target, folded.appends));
}

// In the order of last changes: one row may take a unique value that another has given up. Rows of
// a table that refers to itself stay together: what a statement has written is looked at at its
// end.
void ReplicaWriter::write_whole(ReplicaTable& table, const Folded& folded) {
  const Rows rows(folded.upserts);
  bool may_copy = !table.target.has_rules &&
                  (folded.runs.size() == 1 || !table.target.referenced) &&
                  (rows.empty() || table.copies.may_copy());
  std::size_t begin = 0;  // of what is not written yet
  std::size_t at = 0;
  for (const auto& run : folded.runs) {
    if (may_copy && run.is_new && run.rows >= kLeastToCopy) {
      add(replica::upsert(table.target, rows.subspan(begin, at - begin)));
      may_copy = copy_new(table, rows.subspan(at, run.rows));
      begin = may_copy ? at + run.rows : at;
    }
    at += run.rows;
  }
  add(replica::upsert(table.target, rows.subspan(begin)));
}

bool ReplicaWriter::copy_new(ReplicaTable& table, Rows rows) {
  flush();
  try {
    pqxx::subtransaction savepoint(dynamic_cast<pqxx::dbtransaction&>(tx_), "postrider_copy");
    copy(table.target, rows, savepoint);
    savepoint.commit();
    table.copies.copied();
    return true;
  } catch (const pqxx::sql_error& e) {
    if (!sql::sqlstate(e).starts_with(kConstraintViolation)) throw;
    rows_ -= rows.size();
    table.copies.refused();
    return false;
  }
}

void ReplicaWriter::copy(const TargetTable& table, Rows rows, pqxx::transaction_base& tx) {
  flush();
  rows_ += rows.size();
  std::vector<std::string> unescaped;
  sql::CopyIn::Row values;
  while (!rows.empty()) {
    const auto alike = rows.first(replica::rows_alike(rows));
    rows = rows.subspan(alike.size());
    if (alike.size() < kLeastToCopy) {
      for (const auto& statement : replica::insert(table, alike)) tx.exec(statement.sql);
      continue;
    }
    const auto columns = replica::written_columns(table, alike.front());
    sql::CopyIn into(tx, replica::full_name(table), replica::names(table, columns));
    unescaped.resize(columns.size());
    values.resize(columns.size());
    for (const Cells& row : alike) {
      for (std::size_t i = 0; i < columns.size(); ++i) {
        const auto& cell = row[columns[i]];
        values[i].reset();
        if (cell.kind == replica::Cell::Kind::kValue)
          values[i] = replica::text_of(cell, table.columns[columns[i]], unescaped[i]);
      }
      into.row(values);
    }
    into.complete();
  }
}

void ReplicaWriter::write_in_order(std::span<const BoundChange> changes) {
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].change.op != Op::kTruncate) {
      write_alone(changes[i].table->target, changes[i].change);
      continue;
    }
    // The source emptied them together.
    std::vector<const TargetTable*> tables;
    for (; i < changes.size() && changes[i].change.op == Op::kTruncate; ++i)
      if (std::ranges::find(tables, &changes[i].table->target) == tables.end())
        tables.push_back(&changes[i].table->target);
    --i;
    add(replica::truncate(tables), 0);
  }
  flush();
}

void ReplicaWriter::write_alone(const TargetTable& table, const Change& change) {
  const bool has_key = !table.key.empty();
  switch (change.op) {
    case Op::kInsert:
    case Op::kRead:
      has_key ? upsert(table, change.row) : add(replica::insert(table, one(change.row)));
      return;
    case Op::kDelete:
      if (has_key)
        add(replica::erase(table, one(change.old)));
      else
        add(replica::erase_equal(table, change.old), 1);
      return;
    case Op::kUpdate:
      write_update(table, change);
      return;
    case Op::kTruncate:
      add(replica::truncate({&table}), 0);
      return;
  }
}

void ReplicaWriter::write_update(const TargetTable& table, const Change& change) {
  if (table.key.empty()) {
    run_expecting(replica::update_equal(table, change.old, change.row), 1);
    return;
  }
  if (replica::changes_key(change, table.key_columns())) {
    const auto statement = replica::move(table, change.old, change.row);
    if (!change.complete)
      run_expecting(statement, 1);
    else if (run(statement) == 0)
      upsert(table, change.row);
    return;
  }
  if (change.complete) {
    upsert(table, change.row);
    return;
  }
  for (const auto& statement : replica::patch(table, one(change.row)))
    run_expecting(statement.sql, statement.rows);
}

void ReplicaWriter::upsert(const TargetTable& table, const Cells& row) {
  add(replica::upsert(table, one(row)));
}

void ReplicaWriter::add(const std::string& statement, std::size_t rows) {
  waiting_.append(statement).append(";\n");
  rows_ += rows;
  if (waiting_.size() >= replica::kStatementBytes) flush();
}

void ReplicaWriter::add(const std::vector<replica::Statement>& statements) {
  for (const auto& statement : statements) add(statement.sql, statement.rows);
}

void ReplicaWriter::flush() {
  if (!waiting_.empty()) tx_.exec(waiting_);
  waiting_.clear();
}

std::uint64_t ReplicaWriter::run(const std::string& statement) {
  flush();
  const auto affected = static_cast<std::uint64_t>(tx_.exec(statement).affected_rows());
  rows_ += affected;
  return affected;
}

void ReplicaWriter::run_expecting(const std::string& statement, std::size_t rows) {
  const auto affected = run(statement);
  if (affected < rows) missing_ += rows - affected;
}

}  // namespace postrider
