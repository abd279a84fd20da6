// Writes row changes into their target tables, in a transaction of the caller's. Throws what
// libpqxx throws.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/postgres/sql.h"
#include "readmodel/postgres/replica_tables.h"
#include "readmodel/replica/statements.h"

namespace postrider {

struct BoundChange {
  ReplicaTable* table = nullptr;
  replica::Change change;
};

class ReplicaWriter {
 public:
  // Keeps a reference to it.
  explicit ReplicaWriter(pqxx::transaction_base& tx) : tx_(tx) {}

  // Each row once, each table's rows together: first what is deleted, children before parents; then
  // what is there afterwards, parents before children.
  void write_folded(std::span<const BoundChange> changes);
  // One change after the other, as the source did.
  void write_in_order(std::span<const BoundChange> changes);

  [[nodiscard]] std::uint64_t rows() const { return rows_; }        // written or deleted
  [[nodiscard]] std::uint64_t missing() const { return missing_; }  // updates of rows not there

 private:
  using Rows = std::span<const replica::Cells>;
  void write_deletes(const replica::TargetTable& table, const replica::Folded& folded);
  void write_rows(ReplicaTable& table, const replica::Folded& folded);
  void write_whole(ReplicaTable& table, const replica::Folded& folded);
  // By COPY, which takes a third of an INSERT's time. False where one was there already: then
  // nothing of it is done.
  [[nodiscard]] bool copy_new(ReplicaTable& table, Rows rows);
  void copy(const replica::TargetTable& table, Rows rows, pqxx::transaction_base& tx);
  void write_alone(const replica::TargetTable& table, const replica::Change& change);
  void write_update(const replica::TargetTable& table, const replica::Change& change);
  void upsert(const replica::TargetTable& table, const replica::Cells& row);

  // Statements wait here, so that many take one round trip.
  void add(const std::string& statement, std::size_t rows);
  void add(const std::vector<replica::Statement>& statements);
  void flush();
  // Rows that it affected.
  std::uint64_t run(const std::string& statement);
  // The same, where fewer rows than that are a finding.
  void run_expecting(const std::string& statement, std::size_t rows);

  pqxx::transaction_base& tx_;
  std::string waiting_;
  std::uint64_t rows_ = 0;
  std::uint64_t missing_ = 0;
};

}  // namespace postrider
