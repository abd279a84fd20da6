// What the source's catalog says of its tables, for replicas: their definitions as they are now.
// Needs no right but to connect. Functions throw Failure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/postgres/sql.h"
#include "readmodel/replica/rules.h"

namespace postrider {

struct SourceColumn {
  std::string name;
  std::string type;  // with its modifier; a schema before all that is not PostgreSQL's own
  bool not_null = false;
  bool generated = false;  // not in the events
  bool has_default = false;
  // What rows hold that are older than the column, where PostgreSQL has not written it into them.
  std::optional<std::string> older_rows;
};

struct SourceTable {
  std::string schema;
  std::string name;
  bool partitioned = false;
  std::vector<SourceColumn> columns;
  // By which its events tell rows: the index of its REPLICA IDENTITY, else the primary key.
  std::vector<std::string> key;
};

class SourceCatalog {
 public:
  explicit SourceCatalog(const std::string& conninfo);
  ~SourceCatalog();

  [[nodiscard]] std::optional<SourceTable> find(const std::string& schema,
                                                const std::string& table);
  // Every table that could be captured, partitioned ones by their roots.
  [[nodiscard]] std::vector<SourceTable> all();

 private:
  std::vector<SourceTable> read(const std::string& condition, const std::string& schema,
                                const std::string& table);

  std::unique_ptr<pqxx::connection> connection_;
};

// A column of a replica: what events carry of one at the source.
struct ReplicaColumn {
  SourceColumn source;
  std::string name;
  std::string type;
};
// In the table's order.
[[nodiscard]] std::vector<ReplicaColumn> replica_columns(const SourceTable& table,
                                                         const replica::Carried& carried);
// CREATE TABLE of a replica in `schema`: columns, types, NOT NULL and the key; no default, foreign
// key, check, index, trigger, collation or privilege. `carried` says which columns.
[[nodiscard]] std::string create_table(const SourceTable& table, const std::string& schema,
                                       const replica::Carried& carried);
// kReplicaTable, with the remedy, when the target database lacks a type.
void require_types(pqxx::transaction_base& target, const SourceTable& table,
                   const replica::Carried& carried);
// Runs a statement that makes or alters a table of the target. Trouble that passes is thrown as
// libpqxx does.
void define(pqxx::transaction_base& target, const std::string& statement);

}  // namespace postrider
