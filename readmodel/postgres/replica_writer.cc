#include "readmodel/postgres/replica_writer.h"

#include <algorithm>
#include <unordered_map>

#include "readmodel/replica/statements.h"
#include "readmodel/replica/table_order.h"

namespace postrider {
namespace {

using replica::Cells;
using replica::Change;
using replica::Folded;
using replica::Op;
using replica::TargetTable;

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
    write_rows(table->target, before);
    write_alone(table->target, change);
  }
  std::unordered_map<const TargetTable*, Folded> folded;
  for (auto* table : touched) folded.emplace(&table->target, table->fold.take());
  const auto order = replica::parents_first(targets);
  std::vector<const TargetTable*> truncated;
  const auto empty_truncated = [&] {
    if (!truncated.empty()) add(replica::truncate(truncated), 0);
    truncated.clear();
  };
  for (auto table = order.rbegin(); table != order.rend(); ++table) {
    const Folded& of_table = folded.at(*table);
    if (of_table.truncated) {
      truncated.push_back(*table);
    } else if (!of_table.deletes.empty()) {
      empty_truncated();
      write_deletes(**table, of_table);
    }
  }
  empty_truncated();
  for (const auto* table : order) write_rows(*table, folded.at(table));
  flush();
}

void ReplicaWriter::write_deletes(const TargetTable& table, const Folded& folded) {
  add(replica::erase(table, folded.deletes));
}

void ReplicaWriter::write_rows(const TargetTable& table, const Folded& folded) {
  missing_ += folded.missing;
  for (const auto& statement : replica::patch(table, folded.patches))
    run_expecting(statement.sql, statement.rows);
  add(replica::upsert(table, folded.upserts));
  add(replica::insert(table, folded.appends));
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
