// A replica's target table, as its database describes it. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace postrider::replica {

struct Column {
  std::string name;
  std::string type;        // as a cast can name it, without its modifier
  bool is_json = false;    // of type json or jsonb itself
  bool generated = false;  // never written
  bool required = false;   // NOT NULL, and nothing fills it
};

struct KeyColumn {
  std::size_t column = 0;
  std::string equals;  // operator of the key's index, as a statement can use it
};

struct TargetTable {
  std::uint32_t oid = 0;
  std::string schema;
  std::string name;
  bool partitioned = false;  // rows are in its partitions; those of tables that inherit never are
  bool has_rules = false;    // on INSERT or UPDATE, which COPY passes by
  std::vector<Column> columns;  // generated ones included
  std::vector<KeyColumn> key;   // empty: none

  std::vector<std::uint32_t> parents;  // tables that its foreign keys refer to
  bool referenced = false;             // by foreign keys of others, or its own
  bool deletes_act = false;            // ... with ON DELETE CASCADE, SET NULL or SET DEFAULT

  [[nodiscard]] std::vector<std::size_t> key_columns() const {
    std::vector<std::size_t> indexes;
    for (const auto& column : key) indexes.push_back(column.column);
    return indexes;
  }
};

}  // namespace postrider::replica
