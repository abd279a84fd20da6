// The replica tables of one read model as far as events have named them: which target takes which
// source table, and what is done where a target is missing or lacks a column. Functions throw
// Failure, kReplicaTable above all.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/postgres/sql.h"
#include "readmodel/postgres/source_catalog.h"
#include "readmodel/replica/copy_pause.h"
#include "readmodel/replica/decoder.h"
#include "readmodel/replica/rules.h"
#include "readmodel/replica/table_fold.h"
#include "readmodel/replica/target_table.h"

namespace postrider {

struct ReplicaTable {
  ReplicaTable(const replica::Rule& by, std::string schema, std::string table,
               replica::TargetTable found)
      : rule(by),
        source_schema(std::move(schema)),
        source_name(std::move(table)),
        target(std::move(found)),
        decoder(target),
        fold(target.key_columns(), target.referenced) {}
  ReplicaTable(const ReplicaTable&) = delete;
  ReplicaTable& operator=(const ReplicaTable&) = delete;

  const replica::Rule& rule;
  std::string source_schema;
  std::string source_name;
  replica::TargetTable target;
  replica::Decoder decoder;
  replica::TableFold fold;
  replica::CopyPause copies;
};

class ReplicaTables {
 public:
  explicit ReplicaTables(replica::Options options);

  // Nothing when no rule takes the table, or the subject. Makes the target table where the rule
  // says so. Valid until extend() or forget().
  [[nodiscard]] ReplicaTable* find(pqxx::transaction_base& tx, const replica::RowJson& row,
                                   std::string_view subject);
  // True when some rule takes events with that subject.
  [[nodiscard]] bool takes_subject(std::string_view subject) const;

  // Does what the rule says about columns that the target lacks; what was decoded for the table
  // before is void.
  void extend(pqxx::transaction_base& tx, const ReplicaTable& table,
              const std::vector<std::string>& unknown);

  // What is known of the targets may be wrong: after a rollback, or when somebody altered one.
  void forget();
  // True when something was made in the transaction since forget().
  [[nodiscard]] bool altered() const { return altered_; }

 private:
  using Name = std::pair<std::string, std::string>;

  [[nodiscard]] std::unique_ptr<ReplicaTable> bind(pqxx::transaction_base& tx,
                                                   const replica::Rule& rule, const Name& source);
  void create(pqxx::transaction_base& tx, const replica::Rule& rule, const Name& source);
  void add_columns(pqxx::transaction_base& tx, const ReplicaTable& table,
                   const std::vector<std::string>& names);
  [[nodiscard]] replica::Carried carried(const Name& source) const;
  // What rows that are older than a column hold there, as events would carry it.
  [[nodiscard]] std::string carried_value(pqxx::transaction_base& tx, const Name& source,
                                          const SourceColumn& column) const;

  replica::Options options_;
  // By rule, and schema and table as events write them.
  std::map<std::string, std::unique_ptr<ReplicaTable>, std::less<>> tables_;
  std::map<Name, Name> sources_;                   // of each target
  std::map<Name, std::set<std::string>> ignored_;  // columns, by source table
  std::string name_;
  bool altered_ = false;
};

}  // namespace postrider
